//! Serves a connection: reads its requests, has them routed to a server, and sends the replies.

mod request_reader;
mod response_writer;
mod websocket;
mod ping_timer;
mod event_stream;
mod event_batch;

use super::config::fault::ErrorResponse;
use super::connection::{Connection, Disconnect};
use super::protocol::reply::Reply;
use super::protocol::request::Request;
use super::protocol::response::Response;
use super::routing::route;
use super::servers::{api, router};

/// Serves a connection until it ends, and closes it.
pub(crate) fn serve(mut connection: Connection) -> Result<(), Disconnect> {
    let result = serve_requests(&mut connection);
    match result {
        Err(Disconnect::Reset) => connection.socket.reset_on_close(),
        Err(Disconnect::Drop) => connection.drop_without_reset()?,
        // The close that follows sends a FIN only if nothing is left unread. Otherwise it would send a reset.
        _ => connection.socket.discard_input()?,
    }
    result
}

fn serve_requests(connection: &mut Connection) -> Result<(), Disconnect> {
    if connection.plan.silent {
        return connection.wait_for_client_end();
    }
    loop {
        match next_reply(connection)? {
            Reply::Response(response) => return response_writer::send_response(connection, response),
            Reply::Raw(bytes) => {
                connection.send(&bytes)?;
                return connection.hang_up();
            }
            Reply::Websocket(upgrade) => return websocket::serve_websocket(connection, upgrade),
            Reply::EventStream(subscription) => event_stream::serve_events(connection, subscription)?,
        }
    }
}

/// Returns the response that a fault demands.
fn error_response(response: ErrorResponse, request: &Request) -> Response {
    match response {
        ErrorResponse::Status { status, body } => Response::text(status, body),
        ErrorResponse::RateLimit { status, retry_after } => api::too_many_requests(status, &retry_after),
        ErrorResponse::Router(error) => router::error(error, request),
    }
}

/// Reads the next request, records it, and returns the reply: that of the connection's faults, or else of a server.
fn next_reply(connection: &mut Connection) -> Result<Reply, Disconnect> {
    let Some((request, has_early_data)) = request_reader::read_request(connection)? else {
        return Ok(Response::text(400, "400 Bad Request").into());
    };
    connection.shared().update(|state| state.requests.push(request.clone()));
    if let Some(plan) = connection.shared().fault_plan_at(&request, &connection.plan) {
        connection.set_plan(plan);
    }
    if connection.plan.silent {
        connection.wait_for_client_end()?;
        return Err(Disconnect::ClientGone);
    }
    if let Some(bytes) = connection.plan.garbage.take() {
        return Ok(Reply::Raw(bytes));
    }
    if let Some(response) = connection.plan.error_response.take() {
        return Ok(error_response(response, &request).into());
    }
    let reply = route(connection.shared(), connection.plan.endless, request);
    let is_websocket = matches!(reply, Reply::Websocket(_));
    // The real servers, too, drop clients that send frames before the handshake is complete.
    if is_websocket && (has_early_data || matches!(connection.socket.read(&mut [0]), Ok(Some(_)))) {
        return Err(Disconnect::Drop);
    }
    Ok(reply)
}
