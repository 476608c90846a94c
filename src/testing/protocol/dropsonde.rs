//! The envelopes of Doppler, with the origin and the tags that those of real apps have.

use crate::message::LogMessage;
use crate::wire::dropsonde::encode_doppler;

/// Encodes a message. `is_converted`: it has come through servers that convert envelopes of version 2.
pub(crate) fn encode(message: &LogMessage, is_converted: bool) -> Vec<u8> {
    let Component { origin, job, ip } = Component::of(message.source_name.as_deref());
    let plain = encode_doppler(message);
    let mut envelope = Vec::with_capacity(plain.len() + 128);
    write_bytes(1, origin.as_bytes(), &mut envelope);
    // Its origin is the first field.
    envelope.extend(plain.iter().skip(2 + plain.get(1).map_or(0, |&length| usize::from(length))));
    for (field, text) in [(13, "cf"), (14, job), (15, "0"), (16, ip)] {
        write_bytes(field, text.as_bytes(), &mut envelope);
    }
    if is_converted {
        let mut tag = Vec::new();
        write_bytes(1, b"source_id", &mut tag);
        write_bytes(2, message.app_id.as_bytes(), &mut tag);
        write_bytes(17, &tag, &mut envelope);
    }
    envelope
}

/// The component that emits a message.
struct Component {
    origin: &'static str,
    job: &'static str,
    ip: &'static str,
}

impl Component {
    fn of(source_name: Option<&str>) -> Self {
        match source_name {
            Some("RTR") => Component { origin: "gorouter", job: "router", ip: "10.0.1.2" },
            Some("API") => Component { origin: "cloud_controller", job: "api", ip: "10.0.1.3" },
            // The app's container, and what stages it.
            _ => Component { origin: "rep", job: "diego-cell", ip: "10.0.1.4" },
        }
    }
}

fn write_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(u64::from(field) << 3 | 2, out);
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
