//! What can go wrong, what a caller sees of it, where the bound is, and which test shows it.
//!
//! Nothing that a server or a proxy does may hang a caller, cost unbounded memory, or look like a clean end if it was
//! none. Each line of these tables is a promise of that kind. A bound that is a method of [`Builder`] can be set, the
//! others are fixed; all are [listed](crate#limits) with their defaults. A test is named by its file in `tests/`, and by
//! its name there.
//!
//! # Servers that die
//!
//! Each session of these tests is played once for every single byte of what is said in it, and for each way to die. What had
//! come whole by then is given to the caller, in every one of them.
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | a FIN, an RST or a silence in a proxy's answer, or in the head of an answer | the call fails: [`ConnectionLost`], or [`Timeout`] for silence; the text says what was being done | [`connect_timeout`] | `deaths/tails::a_proxy_at_every_byte_of_a_tail`, `deaths/tails::a_legacy_server_at_every_byte_of_a_tail` |
//! | the same in the TLS handshake | [`Tls`], or [`Timeout`] for silence | [`connect_timeout`] | `deaths/tails::a_legacy_server_at_every_byte_of_a_tail_over_tls` |
//! | a FIN in a stream | its messages, then [`ConnectionLost`]; [`Ending::Eof`] |  | `deaths/tails::doppler_at_every_byte_of_a_tail`, `deaths/tails::the_rlp_gateway_at_every_byte_of_a_tail` |
//! | an RST in a stream | its messages, then [`ConnectionLost`]; [`Ending::Reset`] |  | `deaths/tails::the_rlp_gateway_at_every_byte_of_a_tail_over_tls` |
//! | a silence in a stream | its messages, then [`Timeout`]; [`Ending::TimedOut`] | [`idle_timeout`] | `keep_alive::a_server_that_falls_silent_ends_the_tail_after_the_idle_timeout` |
//! | a FIN or an RST in recent messages | [`Truncated`], with what came in [`recovered`] |  | `deaths/recent::a_legacy_server_at_every_byte_of_a_chunked_body`, `deaths/recent::log_cache_at_every_byte_of_a_body_until_the_end_of_the_connection` |
//! | a silence in recent messages | [`Timeout`], with what came in [`recovered`] | [`read_timeout`] | `deaths/recent::a_legacy_server_at_every_byte_of_a_body_over_tls_until_the_end_of_the_connection` |
//! | the same in a dump, over a websocket | [`ConnectionLost`] or [`Timeout`], with what came in [`recovered`] | [`read_timeout`] | `bad_input/recent::a_dump_that_ends_without_a_close_frame_has_lost_its_connection`, `bad_input/recent::a_silence_without_end_in_a_dump_is_a_timeout` |
//! | any of these in the words of a refusal | the refusal's kind, with the words that came | [`connect_timeout`] | `bad_input/refusals::a_401_whose_body_does_not_come_is_a_401_all_the_same` |
//!
//! # On the way
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | nobody listens | [`Dial`] |  | `bad_input/dialing::a_refused_connection_is_a_dial_error` |
//! | a name that does not resolve, or not in time | [`Dial`] or [`Timeout`] | [`connect_timeout`]; 64 look-ups that were given up | `bad_input/dialing::a_name_that_does_not_resolve_is_an_error_by_the_connect_timeout` |
//! | a name of which not every address answers | the first that does is taken | [`connect_timeout`] | `proxy::all_addresses_of_a_name_are_tried` |
//! | a certificate that does not verify, or has another name | [`Tls`] | [`tls_connector`] | `bad_input/dialing::a_certificate_that_does_not_verify_is_a_tls_error`, `bad_input/dialing::a_certificate_for_another_name_is_a_tls_error` |
//! | a server, or a proxy, that speaks no TLS | [`Tls`] |  | `bad_input/dialing::a_server_that_speaks_no_tls_is_a_tls_error`, `bad_input/proxies::a_proxy_that_speaks_no_tls_is_a_tls_error` |
//! | a proxy that refuses, or speaks no HTTP, or speaks out of turn | [`Proxy`] |  | `bad_input/proxies::a_proxy_that_refuses_is_a_proxy_error`, `bad_input/proxies::a_proxy_that_answers_garbage_is_to_blame`, `bad_input/proxies::a_proxy_that_speaks_before_the_server_can_is_a_proxy_error` |
//! | a proxy function that fails | [`Proxy`] |  | `bad_input/proxies::a_proxy_function_that_gives_no_usable_proxy_is_a_proxy_error` |
//!
//! # Answers
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | a head without an end | [`BadResponse`], of a proxy [`Proxy`] | 32 KiB, or 64 KiB of a handshake; 128 headers | `bad_input/requests::a_head_without_an_end_is_refused` |
//! | a head that trickles in, or has interim answers without end before it | [`Timeout`] | [`connect_timeout`] | `bad_input/requests::a_head_that_trickles_in_is_a_timeout`, `bad_input/requests::interim_answers_without_an_end_are_an_error_by_the_connect_timeout` |
//! | no HTTP, or another content than was asked for | [`BadResponse`] |  | `bad_input/handshake::an_answer_that_is_no_http_is_a_bad_response`, `bad_input/gateway::what_is_no_stream_of_events_is_a_bad_response` |
//! | a handshake's answer that does not fit | [`BadResponse`] |  | `bad_input/handshake::a_101_with_a_wrong_accept_key_is_a_bad_response`, `bad_input/handshake::a_101_with_an_extension_or_a_protocol_that_was_not_offered_is_a_bad_response` |
//! | a flood, wherever it is | the error of its place; it takes no more memory than the limit there | see [limits](crate#limits) | `memory::no_flood_takes_more_memory_than_its_limit` |
//! | a redirect | [`BadResponse`]; it is not followed, and the token stays here |  | `bad_input/requests::a_redirect_to_another_host_gets_no_request_and_no_token` |
//! | a body that is compressed | [`BadResponse`]: there is no decoder, and so no bomb |  | `bad_input/requests::an_answer_that_is_compressed_is_refused_as_such` |
//! | a chunk that is none | [`Truncated`], with what came in [`recovered`], but for what was read together with it; of a tail, [`Ending::Failed`] | 20 bytes for a chunk's size | `bad_input/recent::a_chunk_that_is_none_is_truncated`, `bad_input/requests::the_size_of_a_chunk_has_an_end` |
//! | a refusal whose words have no end | the refusal's kind, with the words cut | 64 KiB, [`connect_timeout`] | `bad_input/requests::a_refusal_whose_words_have_no_end_is_cut`, `bad_input/refusals::a_401_whose_body_drips_in_without_end_is_cut_by_the_connect_timeout` |
//! | a refusal that repeats the token | the words without the token |  | `bad_input/refusals::a_token_that_the_server_repeats_is_hidden`, `secrets::neither_the_token_nor_the_proxys_password_is_ever_shown` |
//! | an API that names no server of logs, or has no end | [`BadResponse`] | 1 MiB | `bad_input/api::what_names_no_server_is_a_bad_response`, `bad_input/api::an_answer_without_an_end_is_a_bad_response` |
//! | an API whose router has no route to it | the router's status and message, and that it was the API | [`connect_timeout`] | `bad_input/api::an_api_behind_a_router_without_a_route_says_so` |
//! | an API that cannot be reached | [`Dial`], [`Tls`] or [`Timeout`], and that it was the API | [`connect_timeout`] for both requests together | `bad_input/api::an_api_that_can_not_be_reached_is_called_the_api`, `bad_input/api::both_requests_to_an_api_share_one_connect_timeout` |
//! | an API that names no server for tails | `recent` works; a tail fails with [`InvalidInput`] |  | `choosing::a_foundation_with_only_a_log_cache_has_recent_messages_and_says_why_it_has_no_tails` |
//! | a link of an API that cannot be used | the next server is used; without one, [`BadResponse`] with the link and its value, for the calls that need it |  | `choosing::an_unusable_link_costs_only_the_calls_that_need_it`, `choosing::the_next_server_takes_the_place_of_one_whose_link_is_unusable` |
//! | an API with TLS that names servers without it | the same; no token is sent | [`danger_allow_plain_servers`] | `choosing::an_api_with_tls_can_not_have_the_token_sent_in_the_clear` |
//! | a server without a route, at an address from the API | the next server is used, or both errors | one more server; 5 minutes | `choosing::the_next_server_takes_the_place_of_one_without_a_route_for_a_while`, `choosing::only_one_other_server_is_tried_and_both_are_named` |
//! | a server that has moved | the API is asked again | once per call | `choosing::a_call_whose_server_has_moved_asks_the_api_again`, `choosing::an_api_is_asked_again_only_once_in_a_call` |
//! | a token that is refused | another is got once, if there is a source; else [`Unauthorized`] |  | `tokens::a_refused_token_is_refreshed_once` |
//!
//! # Tails
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | a close frame that is no normal one, or has no usable code | [`ClosedByServer`]; [`Ending::ClosedByServer`] has the code and the words |  | `keep_alive::a_server_that_missed_pongs_is_quoted_with_its_code_and_its_words`, `bad_input/frames::a_close_frame_with_a_code_that_is_none_is_no_clean_end` |
//! | a close frame in the middle of a message | [`BadResponse`]; [`Ending::Failed`] |  | `bad_input/frames::a_close_frame_within_a_fragmented_message_is_no_clean_end` |
//! | frames that break the protocol: masked, reserved, out of order, no UTF-8 | [`BadResponse`]; [`Ending::Failed`] |  | `bad_input/frames::a_masked_frame_breaks_the_protocol`, `bad_input/frames::a_message_within_a_fragmented_one_breaks_the_protocol`, `bad_input/frames::a_text_that_is_no_utf8_breaks_the_protocol` |
//! | a message that is too large, be it in fragments or only announced | [`TooLarge`]; [`Ending::TooLarge`] | [`max_message_size`], 16 MiB | `bad_input/frames::a_frame_that_claims_to_be_too_large_is_refused_before_it_comes`, `bad_input/frames::fragments_without_end_are_too_large` |
//! | an event of the RLP gateway without an end | [`TooLarge`]; [`Ending::TooLarge`] | 4 × [`max_message_size`] | `bad_input/gateway::what_has_no_end_in_an_event_is_too_large` |
//! | a message that is none | [`Undecodable`], and the tail goes on |  | `bad_input/frames::an_empty_frame_is_undecodable_and_the_tail_goes_on`, `bad_input/gateway::text_that_is_no_utf8_costs_no_more_than_its_event` |
//! | a flood of pings, or of empty fragments | the messages between them; a close is prompt |  | `bad_input/frames::a_message_gets_through_a_flood_of_pings`, `bad_input/frames::a_close_is_prompt_in_a_flood_of_empty_fragments` |
//! | the RLP gateway ends the stream | [`ClosedByServer`]; [`Ending::Closing`] |  | `bad_input/gateway::nothing_comes_behind_a_close` |
//! | a caller that pauses | every message: TCP holds the server up, and pongs go out | 11 batches: see [`Tail`]; [`pong_every`] | `keep_alive::a_caller_that_pauses_for_longer_than_the_server_waits_for_pongs_gets_every_message` |
//! | a caller that stalls while large messages come | every message; the memory stays bounded, and a close is prompt | 11 batches: see [`Tail`] | `slow_caller::a_caller_that_stalls_costs_bounded_memory_and_loses_nothing` |
//! | any end of a tail that reconnects | a [`Gap`], and then what comes on the next connection | [`Reconnect`] | `reconnect::each_break_is_one_item_between_the_messages_of_two_connections`, `reconnect::a_silence_is_a_break_too` |
//! | connecting again fails | other attempts, later and later, and then the last one's error | [`Reconnect`]; 3 refusals | `reconnect::attempts_that_fail_come_later_and_later_and_the_last_ones_error_ends_the_tail`, `reconnect::a_refusal_that_is_repeated_ends_it` |
//! | a router that has no route for now, while connecting again | other attempts, however long it takes | [`Reconnect`] | `reconnect::a_router_without_a_route_for_now_does_not_end_it` |
//! | an RLP gateway that answers every token with 404, while connecting again | other attempts, and then [`Unauthorized`] | 15 s and 3 attempts | `reconnect::a_gateway_that_can_not_check_tokens_for_now_does_not_end_it`, `reconnect::a_rejection_of_every_token_ends_it_after_fifteen_seconds` |
//! | the server has moved, while connecting again | the API is asked again | once per attempt | `reconnect::a_tail_whose_server_has_moved_finds_it_by_the_api`, `reconnect::the_api_is_asked_at_most_once_per_attempt`, `reconnect::an_api_that_is_away_does_not_end_a_tail_whose_server_comes_back` |
//!
//! # Recent messages
//!
//! All of these errors have what came before them in [`recovered`].
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | a multipart body without its closing delimiter | [`Truncated`] |  | `bad_input/recent::a_body_until_the_end_of_the_connection_that_is_cut_short_is_truncated`, `bad_input/recent::no_body_at_all_is_truncated` |
//! | a Content-Type without a usable boundary | [`BadResponse`] |  | `bad_input/recent::a_content_type_without_a_usable_boundary_is_a_bad_response` |
//! | a preamble, or a part's headers, without an end | [`BadResponse`] | 64 KiB, 16 KiB | `bad_input/recent::a_preamble_without_end_is_a_bad_response`, `bad_input/recent::headers_of_a_part_without_end_are_an_error` |
//! | one message without an end | [`TooLarge`] | [`max_message_size`], 16 MiB | `bad_input/recent::one_part_without_end_is_too_large`, `bad_input/log_cache::an_envelope_without_an_end_is_too_large` |
//! | messages without an end | [`TooLarge`] | [`max_recent_size`], 256 MiB | `bad_input/recent::parts_without_end_are_too_large`, `bad_input/log_cache::messages_without_an_end_are_too_large` |
//! | messages, or pings between them, that drip in without an end | [`Timeout`] | [`recent_timeout`] | `bad_input/recent::parts_that_drip_in_without_end_are_a_timeout`, `bad_input/recent::a_dump_that_only_pings_is_a_timeout` |
//! | parts that are no messages | they are skipped, with a warning in the log; too many are a [`BadResponse`] | 1000 | `bad_input/recent::parts_that_are_no_messages_are_skipped`, `bad_input/recent::parts_without_end_that_are_no_messages_are_a_bad_response` |
//! | JSON that is none | [`BadResponse`] or [`Truncated`] |  | `bad_input/log_cache::what_is_no_json_is_a_bad_response_with_what_came_before` |
//!
//! # This side
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | an argument that can't be one | [`InvalidInput`], and nothing is sent | 1024 bytes for an endpoint or a GUID | `bad_input/arguments::an_empty_guid_is_refused_before_anything_is_sent`, `bad_input/arguments::an_endpoint_or_a_guid_that_is_far_too_long_is_refused` |
//! | a close, in whatever state | a tail just ends, by [`Ending::Closed`]; a call gives [`Closed`] | 0.1 s | `races::whenever_it_comes_a_close_ends_everything_and_leaves_nothing`, `close/tails::a_tail_under_load_closes_well`, `close/calls::close_ends_a_call_that_waits_for_an_answer` |
//! | a close with a server that does not read, or does nothing but send | the same | 0.1 s | `close/tails::a_server_that_does_not_read_holds_no_close_up_and_finds_the_close_frame_later`, `close/tails::a_server_that_does_nothing_but_send_learns_of_the_close` |
//! | a UAA without TLS, while the servers have it | [`InvalidInput`] from `build` | [`danger_allow_plain_servers`] | `choosing::a_uaa_without_tls_is_refused_if_the_servers_have_it` |
//! | a callback that closes, drops or panics | the close, the drop, the panic; nothing stays open |  | `close/callbacks::a_callback_may_close_the_consumer`, `close/callbacks::a_callback_may_drop_the_tail_that_connects_again`, `close/callbacks::a_callback_that_panics_leaves_nothing_open_and_the_consumer_goes_on` |
//! | a logger that panics in a tail's thread | [`BadResponse`] or [`ConnectionLost`]; no clean end, and no hanging |  | `panicking_logger::a_logger_that_panics_ends_a_tail_and_does_not_hang_it` |
//! | whatever was opened, and however it ended | no thread and no descriptor stays |  | `leaks::nothing_is_left_behind` |
//!
//! [`ConnectionLost`]: crate::ErrorKind::ConnectionLost
//! [`Timeout`]: crate::ErrorKind::Timeout
//! [`Tls`]: crate::ErrorKind::Tls
//! [`Truncated`]: crate::ErrorKind::Truncated
//! [`Dial`]: crate::ErrorKind::Dial
//! [`Proxy`]: crate::ErrorKind::Proxy
//! [`BadResponse`]: crate::ErrorKind::BadResponse
//! [`Unauthorized`]: crate::ErrorKind::Unauthorized
//! [`ClosedByServer`]: crate::ErrorKind::ClosedByServer
//! [`TooLarge`]: crate::ErrorKind::TooLarge
//! [`Undecodable`]: crate::ErrorKind::Undecodable
//! [`Gap`]: crate::ErrorKind::Gap
//! [`InvalidInput`]: crate::ErrorKind::InvalidInput
//! [`Closed`]: crate::ErrorKind::Closed
//! [`Ending::Closed`]: crate::Ending::Closed
//! [`Ending::ClosedByServer`]: crate::Ending::ClosedByServer
//! [`Ending::Closing`]: crate::Ending::Closing
//! [`Ending::Eof`]: crate::Ending::Eof
//! [`Ending::Reset`]: crate::Ending::Reset
//! [`Ending::TimedOut`]: crate::Ending::TimedOut
//! [`Ending::TooLarge`]: crate::Ending::TooLarge
//! [`Ending::Failed`]: crate::Ending::Failed
//! [`connect_timeout`]: crate::Builder::connect_timeout
//! [`idle_timeout`]: crate::Builder::idle_timeout
//! [`read_timeout`]: crate::Builder::read_timeout
//! [`recent_timeout`]: crate::Builder::recent_timeout
//! [`max_message_size`]: crate::Builder::max_message_size
//! [`max_recent_size`]: crate::Builder::max_recent_size
//! [`tls_connector`]: crate::Builder::tls_connector
//! [`danger_allow_plain_servers`]: crate::Builder::danger_allow_plain_servers
//! [`pong_every`]: crate::Builder::pong_every
//! [`recovered`]: crate::Error::recovered
//! [`Builder`]: crate::Builder
//! [`Reconnect`]: crate::Reconnect
//! [`Tail`]: crate::Tail
