//! Parses the bytes of responses. Pure: nothing here knows sockets, threads or clocks.

/// Implements `Serialize` and `Deserialize` for public types by the structs that read and write their JSON.
#[cfg(feature = "serde")]
macro_rules! serde_as {
    ($($public:ident: $json:ident),*) => {$(
        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl ::serde::Serialize for $public {
            fn serialize<S: ::serde::Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
                $json::from(self).serialize(output)
            }
        }

        #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
        impl<'de> ::serde::Deserialize<'de> for $public {
            fn deserialize<D: ::serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                $json::deserialize(input)?.try_into().map_err(::serde::de::Error::custom)
            }
        }
    )*};
}

pub(crate) mod dropsonde;
pub(crate) mod format;
pub(crate) mod frames;
pub(crate) mod multipart;
pub(crate) mod promql;
pub(crate) mod sse;
pub(crate) mod v2;

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
pub(crate) mod captures;
