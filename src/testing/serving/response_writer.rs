//! Sends a response on a connection, with the faults that concern whole responses.

use crate::testing::config::fault::{Endless, FaultPlan, Interruption};
use crate::testing::connection::{Connection, Disconnect};
use crate::testing::protocol::response::{EncodedResponse, Exchange, Response};

/// How many bytes of an endless part are written at a time.
const FILLER: usize = 16 * 1024;

/// Sends the response. Returns true if the connection can be used for another request.
pub(super) fn send_response(
    connection: &mut Connection,
    mut response: Response,
    exchange: Exchange,
) -> Result<bool, Disconnect> {
    let FaultPlan { endless, truncate, delayed_body, .. } = connection.plan;
    if endless == Some(Endless::Part) {
        response = response.repeat_forever(vec![b'x'; FILLER]);
    }
    let EncodedResponse { keeps_alive, head: mut bytes, body, repeated } = response.encode(exchange);
    if truncate {
        connection.socket.interrupt_at((bytes.len() + body.len() / 2) as u64, Interruption::Drop);
    }
    if let Some(delay) = delayed_body {
        connection.send(&bytes)?;
        connection.pause(delay)?;
        bytes.clear();
    }
    bytes.extend_from_slice(&body);
    connection.send(&bytes)?;
    if !repeated.is_empty() {
        loop {
            connection.send(&repeated)?;
        }
    }
    Ok(keeps_alive)
}
