#![allow(missing_docs, dead_code)]
pub(crate) struct CfCli {
    pub target: String,
    pub doppler: Option<String>,
    pub log_cache: Option<String>,
    pub skip_tls_validation: bool,
}
impl CfCli {
    pub(crate) fn read() -> crate::Result<Self> {
        todo!()
    }
    pub(crate) fn into_tokens(self) -> crate::TokenSource {
        todo!()
    }
}
