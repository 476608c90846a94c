//! Serves a connection: reads its requests, has them routed to a server, and sends the replies.

mod request_reader;
mod response_writer;
mod websocket;
mod ping_timer;
mod event_stream;
mod event_batch;

use self::request_reader::Incoming;
use super::config::fault::ErrorResponse;
use super::connection::{Connection, Disconnect};
use super::protocol::reply::Reply;
use super::protocol::request::Request;
use super::protocol::response::{Exchange, Response};
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
    let mut is_first = true;
    loop {
        if !is_first {
            // A connection that is used again counts as the next one.
            request_reader::wait_for_request(connection)?;
            let plan = connection.shared().next_fault_plan();
            connection.set_plan(plan);
        }
        is_first = false;
        if connection.plan.silent {
            return connection.wait_for_client_end();
        }
        let request = match request_reader::read_request(connection)? {
            Incoming::Request(request) => request,
            Incoming::Invalid(reason) => {
                connection.send(bad_request(reason).as_bytes())?;
                return connection.hang_up();
            }
        };
        let exchange = Exchange::new(&request);
        let keeps_alive = match reply(connection, &request)? {
            Reply::Response(response) => response_writer::send_response(connection, response, exchange)?,
            Reply::Raw(bytes) => {
                connection.send(&bytes)?;
                false
            }
            Reply::Websocket(upgrade) => return websocket::serve_websocket(connection, upgrade),
            Reply::EventStream(subscription) => event_stream::serve_events(connection, subscription, exchange)?,
        };
        if !keeps_alive || !request_reader::discard_body(connection, &request)? {
            return connection.hang_up();
        }
    }
}

/// Returns the response of Go's servers to what is not a valid request.
fn bad_request(reason: Option<&str>) -> String {
    let status = reason.map_or("400 Bad Request".to_owned(), |reason| format!("400 Bad Request: {reason}"));
    format!("HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{status}")
}

/// Returns the response that a fault demands.
fn error_response(response: ErrorResponse, request: &Request) -> Response {
    match response {
        ErrorResponse::Status { status, body } => Response::text(status, body),
        ErrorResponse::RateLimit { status, retry_after } => api::too_many_requests(status, &retry_after),
        ErrorResponse::Router(error) => router::error(error, request),
    }
}

/// Records a request, and returns the reply: that of the faults, or else of a server.
fn reply(connection: &mut Connection, request: &Request) -> Result<Reply, Disconnect> {
    connection.shared().update(|state| state.requests.push(request.clone()));
    if let Some(plan) = connection.shared().fault_plan_at(request, &connection.plan) {
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
        return Ok(error_response(response, request).into());
    }
    let reply = route(connection.shared(), connection.plan.endless, request);
    let is_websocket = matches!(reply, Reply::Websocket(_));
    // The real servers, too, drop clients that send frames before the handshake is complete.
    if is_websocket && (!connection.input.is_empty() || matches!(connection.socket.read(&mut [0]), Ok(Some(_)))) {
        return Err(Disconnect::Drop);
    }
    Ok(reply)
}
