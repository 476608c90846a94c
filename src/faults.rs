//! What can go wrong, what the caller sees, which limit applies, and which test shows it.
//!
//! A fault of a server or a proxy never hangs the caller, never costs unbounded memory, and never looks like a clean end.
//! Each row of these tables is a promise of this kind. The bounds that are methods of [`Builder`] can be set, the others
//! are fixed. The [limits](crate#limits) have the defaults. A test is named by its file in `tests/` and its function.
//!
//! # Connecting
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | nothing listens at the address | [`Dial`] |  | `bad_input/dialing::a_refused_connection_is_a_dial_error` |
//! | a name that does not resolve, or not in time | [`Dial`] or [`Timeout`] | [`connect_timeout`]; at most 64 abandoned look-ups | `bad_input/dialing::a_name_that_does_not_resolve_is_an_error_within_the_connect_timeout` |
//! | a name with several addresses, some of which do not respond | the first address that responds is used | [`connect_timeout`] | `proxy::all_addresses_of_a_name_are_tried` |
//! | a certificate that does not verify, or is for another name | [`Tls`] | [`tls_connector`] | `bad_input/dialing::a_certificate_that_does_not_verify_is_a_tls_error`, `bad_input/dialing::a_certificate_for_another_name_is_a_tls_error` |
//! | a TLS alert after the handshake, for example from a server that wants a client certificate (in TLS 1.3 its alert comes with the first read) | [`Tls`]; in the middle of recent messages with those before it in [`recovered`]; in the middle of a tail with [`Ending::Failed`] | [`tls_connector`] | `bad_input/dialing::a_server_that_wants_a_client_certificate_is_a_tls_error`, `bad_input/dialing::a_tls_alert_after_the_handshake_is_a_tls_error`, `bad_input/dialing::a_tls_alert_in_a_tail_is_not_a_clean_end`, `bad_input/dialing::a_tls_alert_in_a_body_is_a_tls_error_with_the_messages_before_it`, `bad_input/dialing::a_tls_alert_in_a_dump_is_a_tls_error_with_the_messages_before_it` |
//! | a host name with a dot at its end | it is dialled as it is, and verified without the dot |  | `proxy::a_name_with_a_dot_at_its_end_is_dialled_with_it_and_verified_without_it` |
//! | an IPv6 address with a zone, such as `[fe80::1%25eth0]` | it is dialled on this interface, and sent and verified without the zone; an unknown interface is [`Dial`] |  | `proxy::the_zone_of_an_ipv6_address_selects_the_interface_and_is_not_sent` |
//! | a server, or a proxy, that does not speak TLS | [`Tls`] |  | `bad_input/dialing::a_server_without_tls_is_a_tls_error`, `bad_input/proxies::a_proxy_without_tls_is_a_tls_error` |
//! | a proxy that rejects the request, does not speak HTTP, or sends bytes after its response head | [`Proxy`] |  | `bad_input/proxies::a_proxy_that_refuses_is_a_proxy_error`, `bad_input/proxies::a_proxy_that_sends_garbage_is_a_proxy_error`, `bad_input/proxies::extra_bytes_after_a_proxys_response_head_are_a_proxy_error` |
//! | a SOCKS5 proxy that refuses the connection: each code of its reply | [`Proxy`], with the meaning of the code |  | `bad_input/socks5::each_code_of_a_socks5_proxy_is_a_proxy_error_that_says_what_it_means` |
//! | a SOCKS5 proxy that rejects the user or the password, or accepts no method of authentication that is offered | [`Proxy`], which says what to set; [`ConnectionLost`] if it only hangs up |  | `bad_input/socks5::a_wrong_user_or_password_at_a_socks5_proxy_is_a_proxy_error_that_says_so`, `bad_input/socks5::a_socks5_proxy_that_accepts_no_login_of_ours_is_a_proxy_error_that_says_what_to_do` |
//! | a proxy that does not speak SOCKS5, or sends a malformed answer | [`Proxy`], which says what is wrong | 266 bytes | `bad_input/socks5::a_proxy_that_does_not_speak_socks5_is_a_proxy_error`, `bad_input/socks5::a_malformed_answer_of_a_socks5_proxy_is_a_proxy_error_that_says_what_is_wrong`, `bad_input/socks5::bytes_without_end_from_a_socks5_proxy_are_no_trouble` |
//! | a SOCKS5 proxy that falls silent | [`Timeout`] | [`connect_timeout`] | `bad_input/socks5::a_socks5_proxy_that_falls_silent_is_a_timeout` |
//! | a name that resolves only at the SOCKS5 proxy, with `socks5://` | [`Dial`], which names `socks5h://` |  | `proxy::socks5h_resolves_the_name_at_the_proxy_and_socks5_on_this_side` |
//! | a name of more than 255 bytes, with `socks5h://` | [`Proxy`] |  | `bad_input/socks5::a_name_that_is_too_long_for_socks5_is_a_proxy_error` |
//! | a proxy that repeats its password | [`Proxy`], with the password hidden |  | `bad_input/proxies::credentials_that_a_proxy_repeats_are_hidden`, `bad_input/socks5::credentials_that_a_socks5_proxy_repeats_are_hidden` |
//! | a proxy function that fails, or returns an unusable proxy | [`Proxy`] |  | `reference_cases::case_33_the_error_of_a_proxy_function_is_in_the_error_text`, `bad_input/proxies::a_proxy_function_that_returns_an_unusable_proxy_is_a_proxy_error` |
//!
//! # Servers that die
//!
//! These tests repeat each session once for every byte that the server sends and every way to die: a FIN, an RST or
//! silence after that byte. The caller always gets every message that was complete by then.
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | a FIN, an RST or silence in a proxy's response, or in a response head | the call fails with [`ConnectionLost`], or with [`Timeout`] for silence; the text names the step that failed | [`connect_timeout`] | `deaths/tails::a_proxy_at_every_byte_of_a_tail`, `deaths/tails::a_socks5_proxy_at_every_byte_of_a_tail`, `deaths/recent::log_cache_at_every_byte_through_a_socks5_proxy`, `deaths/tails::a_legacy_server_at_every_byte_of_a_tail` |
//! | the same in the TLS handshake | [`Tls`], or [`Timeout`] for silence | [`connect_timeout`] | `deaths/tails::a_legacy_server_at_every_byte_of_a_tail_over_tls` |
//! | a FIN in a stream | its messages, then [`ConnectionLost`]; [`Ending::Eof`] |  | `deaths/tails::doppler_at_every_byte_of_a_tail`, `deaths/tails::the_rlp_gateway_at_every_byte_of_a_tail` |
//! | an RST in a stream | its messages, then [`ConnectionLost`]; [`Ending::Reset`] |  | `deaths/tails::the_rlp_gateway_at_every_byte_of_a_tail_over_tls` |
//! | silence in a stream | its messages, then [`Timeout`]; [`Ending::TimedOut`] | [`idle_timeout`] | `keep_alive::a_server_that_falls_silent_ends_the_tail_after_the_idle_timeout` |
//! | a FIN or an RST in recent messages | [`Truncated`], with the messages before it in [`recovered`] |  | `deaths/recent::a_legacy_server_at_every_byte_of_a_chunked_body`, `deaths/recent::log_cache_at_every_byte_of_a_body_delimited_by_eof` |
//! | silence in recent messages | [`Timeout`], with the messages before it in [`recovered`] | [`read_timeout`] | `deaths/recent::a_legacy_server_at_every_byte_of_a_body_delimited_by_eof_over_tls` |
//! | the same in a dump over a websocket | [`ConnectionLost`] or [`Timeout`], with the messages before it in [`recovered`] | [`read_timeout`] | `bad_input/recent::a_dump_that_ends_without_a_close_frame_is_a_lost_connection`, `bad_input/recent::a_server_that_falls_silent_in_a_dump_is_a_timeout` |
//! | any of these in the body of an error response | the error of the status, with the part of the body that arrived | [`connect_timeout`] | `bad_input/error_responses::a_401_whose_body_does_not_arrive_is_still_unauthorized` |
//!
//! # Responses
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | an endless head | [`BadResponse`]; from a proxy [`Proxy`] | 32 KiB, or 64 KiB in a handshake; 128 headers | `bad_input/requests::an_endless_head_is_refused` |
//! | a head that trickles in, or endless interim responses before it | [`Timeout`] | [`connect_timeout`] | `bad_input/requests::a_head_that_trickles_in_is_a_timeout`, `bad_input/requests::endless_interim_responses_are_an_error_within_the_connect_timeout` |
//! | interim responses (1xx) before the final one | they are skipped: in a handshake, before a CONNECT response and before every HTTP response | [`connect_timeout`] | `bad_input/handshake::interim_responses_before_the_final_one_are_skipped`, `bad_input/requests::an_error_response_is_found_behind_interim_responses` |
//! | a response that is not HTTP, or has an unexpected Content-Type | [`BadResponse`] |  | `bad_input/handshake::a_response_that_is_not_http_is_a_bad_response`, `bad_input/gateway::a_response_that_is_not_an_event_stream_is_a_bad_response` |
//! | an invalid handshake response | [`BadResponse`] |  | `bad_input/handshake::a_101_with_a_wrong_accept_key_is_a_bad_response`, `bad_input/handshake::a_101_with_an_extension_or_a_protocol_that_was_not_offered_is_a_bad_response` |
//! | a flood, in any place | the error for that place; it uses no more memory than the limit there | see [limits](crate#limits) | `memory::no_flood_takes_more_memory_than_its_limit` |
//! | a redirect | [`BadResponse`]; it is not followed, and the token is not sent on |  | `bad_input/requests::a_redirect_to_another_host_is_not_followed_and_does_not_leak_the_token` |
//! | a compressed body | [`BadResponse`]: there is no decoder, and so no decompression bomb |  | `bad_input/requests::a_compressed_response_is_refused` |
//! | a malformed chunk | [`Truncated`], with the messages before it in [`recovered`], except those that were read together with it; in a tail, [`Ending::Failed`] | 20 bytes for a chunk's size | `bad_input/recent::a_malformed_chunk_is_truncated`, `bad_input/requests::malformed_chunks_are_an_error` |
//! | endless extensions of a chunk, or endless trailers | as for a malformed chunk | 16 KiB, 32 KiB | `bad_input/requests::an_endless_chunk_size_is_an_error`, `bad_input/requests::messages_before_a_chunk_extension_that_is_too_long_are_recovered`, `bad_input/gateway::endless_trailers_are_an_error` |
//! | an endless body of an error response | the error of the status, with the body cut | 64 KiB, [`connect_timeout`] | `bad_input/requests::an_endless_error_body_is_cut`, `bad_input/error_responses::a_401_with_an_endless_body_that_drips_in_is_cut_by_the_connect_timeout` |
//! | an error response that repeats the token | the body without the token |  | `bad_input/error_responses::a_token_that_the_server_repeats_is_hidden`, `secrets::neither_the_token_nor_a_password_is_ever_shown` |
//! | an API response that names no log server, or is endless | [`BadResponse`] | 1 MiB | `bad_input/api::a_response_that_names_no_server_is_a_bad_response`, `bad_input/api::an_endless_response_is_a_bad_response` |
//! | a rejected token | a new token is fetched once, if there is a source; otherwise [`Unauthorized`] |  | `tokens::a_refused_token_is_refreshed_once` |
//! | a rejected refresh token | a new one is fetched for the user's password, if it is set |  | `tokens::a_password_outlives_every_refresh_token` |
//! | a wrong password of a user | [`Unauthorized`]; the password is not sent again for a while, so that the UAA does not lock the account | 15 minutes | `tokens::a_wrong_password_is_sent_once_however_many_calls_need_a_token` |
//! | a UAA that repeats the password | the error without the password |  | `repeated_secrets::a_password_that_a_uaa_repeats_is_hidden` |
//!
//! # Rejections, limits and the API
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | an error response with `Retry-After`, such as a 429 or a 503 | [`ServerError`] at once, with [`retry_after`]; a tail that reconnects waits for it | 1 hour | `rate_limits::a_call_fails_at_once_and_its_error_has_the_time`, `rate_limits::a_tail_that_reconnects_waits_for_the_time` |
//! | a 404 for a missing app, from a server of 2016 or a Cloud Controller | [`NotFound`], without a doubt about the address |  | `bad_input/error_responses::a_404_for_a_missing_app_on_a_server_of_2016_does_not_doubt_the_address`, `log_cache::an_error_of_a_cloud_controller_says_what_is_missing_and_does_not_doubt_the_address` |
//! | a token that is rejected although it has just replaced a rejected one, as for an app that is gone | [`Unauthorized`], without another renewal | a tenth of the token's lifetime, at most 60 s: see [`TokenSource`] | `tokens::ten_calls_for_apps_that_are_gone_cost_one_refresh` |
//! | an API whose router has no route to it | the router's status and message, and that it was the API | [`connect_timeout`] | `bad_input/api::an_api_behind_a_router_without_a_route_says_so` |
//! | an API that cannot be reached | [`Dial`], [`Tls`] or [`Timeout`], and that it was the API | [`connect_timeout`] for both requests together | `bad_input/api::an_api_that_can_not_be_reached_is_called_the_api`, `bad_input/api::both_requests_to_an_api_share_one_connect_timeout` |
//! | an API that does not answer a question for an app's name, or breaks off, or answers nonsense | [`Timeout`], [`Truncated`] or [`BadResponse`], and that it was the API | [`connect_timeout`] for each request, a minute for all; 8 MiB | `bad_input/app_names::an_api_that_does_not_answer_or_trickles_is_a_timeout`, `bad_input/app_names::a_response_that_breaks_off_is_truncated`, `bad_input/app_names::a_response_that_is_no_list_is_a_bad_response`, `bad_input/app_names::an_endless_response_is_a_bad_response` |
//! | an API whose lists never end, or go on elsewhere | the pages are counted, and no link is followed | 20 pages, and 2000 resources | `app_names::a_link_to_the_next_page_leads_nowhere_else_and_not_on_for_ever` |
//! | an API that cannot select a name | nothing: the app is found in the whole list | 20 pages, and 2000 resources | `app_names::an_app_that_an_old_api_cannot_select_is_found_in_the_list` |
//! | an API that rejects the token, also one that has expired | a new token is fetched once, if there is a source; otherwise [`Unauthorized`] |  | `app_names::a_token_that_has_expired_is_renewed_once`, `app_names::a_rejected_token_is_an_error_in_the_words_of_the_api` |
//! | an API that names no server with streams | every call works: a tail polls Log Cache |  | `choosing::on_a_foundation_with_only_a_log_cache_every_call_works` |
//! | a link of an API that cannot be used | the next server is used; without one, [`BadResponse`] with the link and its value, for the calls that need it |  | `choosing::an_unusable_link_costs_only_the_calls_that_need_it`, `choosing::the_next_server_takes_the_place_of_one_whose_link_is_unusable` |
//! | an API with TLS that names servers without it | the same; no token is sent | [`danger_allow_plain_servers`] | `choosing::an_api_with_tls_can_not_have_the_token_sent_in_the_clear` |
//! | a server without a route, or that nobody listens for, at an address from the API | the next server is used, or all errors | 10 minutes | `choosing::the_next_server_takes_the_place_of_one_without_a_route_for_a_while`, `choosing::log_cache_takes_the_place_of_streams_that_have_no_route_or_cannot_be_reached`, `follow_streams::a_stream_is_polled_while_no_other_server_has_a_route`, `choosing::only_one_other_server_is_tried_and_both_are_named` |
//! | a legacy server without a route, for now or for ever | [`NotFound`], which says both |  | `bad_input/error_responses::a_legacy_server_without_a_route_for_now_is_not_called_another_server` |
//! | a server that has moved | the API is asked again | once per call | `choosing::a_call_whose_server_has_moved_asks_the_api_again`, `choosing::an_api_is_asked_again_only_once_in_a_call` |
//!
//! # Tails
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | a close frame with an error code, or without a usable one | [`ClosedByServer`]; [`Ending::ClosedByServer`] has the code and the reason |  | `keep_alive::the_error_has_the_close_code_and_reason_of_a_server_that_missed_pongs`, `bad_input/frames::a_close_frame_with_an_invalid_code_is_not_a_clean_end` |
//! | a close frame within a fragmented message | [`BadResponse`]; [`Ending::Failed`] |  | `bad_input/frames::a_close_frame_within_a_fragmented_message_is_not_a_clean_end` |
//! | frames that violate the protocol: masked, with reserved bits, out of order, with invalid UTF-8 | [`BadResponse`]; [`Ending::Failed`] |  | `bad_input/frames::a_masked_frame_breaks_the_protocol`, `bad_input/frames::a_message_within_a_fragmented_one_breaks_the_protocol`, `bad_input/frames::invalid_utf8_in_a_text_frame_breaks_the_protocol` |
//! | a message that is too large, in one frame, in fragments, or by its announced length | [`TooLarge`]; [`Ending::TooLarge`] | [`max_message_size`], 16 MiB | `bad_input/frames::a_frame_whose_announced_length_is_too_large_is_refused_before_it_arrives`, `bad_input/frames::endless_fragments_are_too_large` |
//! | an endless event of the RLP gateway | [`TooLarge`]; [`Ending::TooLarge`] | 4 × [`max_message_size`] | `bad_input/gateway::an_endless_event_is_too_large` |
//! | an undecodable message | [`Undecodable`], and the tail continues |  | `bad_input/frames::an_empty_frame_is_undecodable_and_the_tail_goes_on`, `bad_input/gateway::invalid_utf8_makes_only_its_own_event_undecodable` |
//! | a flood of pings, or of empty fragments | the messages between them; a close is prompt |  | `bad_input/frames::a_message_gets_through_a_flood_of_pings`, `bad_input/frames::a_close_is_prompt_in_a_flood_of_empty_fragments` |
//! | the RLP gateway closes the stream | [`ClosedByServer`]; [`Ending::Closing`] |  | `bad_input/gateway::a_closing_event_ends_the_tail_even_if_more_events_follow` |
//! | a caller that pauses | every message: TCP slows the server down, and pongs are still sent | 11 batches: see [`Tail`]; [`pong_every`] | `keep_alive::a_caller_that_pauses_longer_than_the_pong_deadline_gets_every_message` |
//! | a caller that stalls while large messages arrive | every message; the memory stays bounded, and a close is prompt | 11 batches: see [`Tail`] | `slow_caller::a_caller_that_stalls_costs_bounded_memory_and_loses_nothing` |
//! | a tail that reconnects loses its connection | a [`Gap`] when it is connected again, then the messages of the next connection | [`Reconnect`] | `reconnect::each_break_is_one_item_between_the_messages_of_two_connections`, `reconnect::an_idle_timeout_is_a_break_too`, `reconnect::recent_messages_that_are_read_at_a_gap_fill_it` |
//! | a tail loses its connection while its caller pauses | it reconnects meanwhile, and the [`Gap`] waits for the caller |  | `close/caller_code::a_tail_whose_caller_pauses_reconnects_meanwhile` |
//! | reconnecting fails | more attempts with growing delays, then the error of the last one | [`Reconnect`]; 3 rejections | `reconnect::failed_attempts_back_off_and_the_error_of_the_last_ends_the_tail`, `reconnect::a_repeated_rejection_ends_the_tail`, `reconnect::what_comes_between_rejections_does_not_save_a_tail_that_is_rejected` |
//! | a stream that gives no lines while Log Cache has some (`disable_logs`) | all lines, the first ones some 5 s late; then tails use Log Cache | until a stream has given a line: read after 1, 2, 4 and 8 s of silence, then every 15 s | `mute_streams::a_mute_stream_is_noticed_within_seconds_and_no_line_is_lost`, `mute_streams::a_mute_stream_is_noticed_although_log_cache_could_not_be_read_for_a_while`, `mute_streams::a_stream_of_an_app_that_logs_nothing_is_kept`, `mute_streams::a_tail_of_several_apps_goes_on_over_log_cache_if_it_is_mute`, `mute_streams::a_stream_that_gives_only_metrics_goes_on_over_log_cache_and_gives_each_envelope_once` |
//! | a token without the scope for the firehose | [`Unauthorized`], which names the scope |  | `streams::the_firehose_names_the_scope_that_is_missing` |
//! | a Doppler of before 2018 drops envelopes for a reader that is too slow | a [`Gap`] with their number, [`Ending::Dropped`] |  | `streams::what_an_old_doppler_has_dropped_is_a_gap` |
//! | a later one cuts off such a reader | [`ConnectionLost`]; [`Ending::Eof`] |  | `streams::a_reader_that_doppler_cuts_off_is_told` |
//! | a caller of the firehose that stalls | every envelope; the memory stays bounded, and a close is prompt | 11 batches: see [`Tail`] | `slow_caller::a_caller_that_stalls_costs_bounded_memory_and_loses_nothing` |
//! | one of several apps is rejected | its error with its [`app_id`] as an item, and the messages of the others; the error alone if all are |  | `apps::an_app_that_is_rejected_is_named_and_does_not_end_the_others`, `apps::a_call_fails_if_all_apps_are_rejected` |
//! | the connection of one of several apps ends | the same, and the tail ends with the last one |  | `apps::an_app_whose_connection_ends_is_named_and_the_tail_ends_with_the_last` |
//! | a hundred apps over Log Cache | every line, by one thread over one connection | 10 requests/s of quiet apps | `apps_threads::a_hundred_apps_over_log_cache_need_one_thread_and_one_connection` |
//! | a line that becomes readable late, over Log Cache | it comes when it is readable | [`horizon`] | `follow::lines_that_become_readable_late_are_not_lost`, `follow_streams::envelopes_that_become_readable_late_are_not_lost` |
//! | Log Cache drops lines before they are read | a [`Gap`] with the times between which some may be missing |  | `follow::lines_that_log_cache_has_dropped_are_in_a_named_gap`, `follow_streams::envelopes_that_log_cache_has_dropped_are_in_a_named_gap` |
//! | the recent messages of a server without Log Cache no longer reach back to a break of `follow` | a [`Gap`] with the times between which some may be missing |  | `follow_joined::what_the_recent_messages_no_longer_hold_is_in_a_named_gap` |
//! | `follow_stream` of all sources or of a shard, without Log Cache, or of metrics alone with Korifi | [`InvalidInput`] that says what to use |  | `follow_streams::what_log_cache_does_not_have_is_an_error_that_says_so`, `follow_streams::korifi_has_logs_and_says_that_it_holds_no_metrics` |
//! | one of several sources that `follow_stream` may not read | an error with its [`app_id`]; the others go on |  | `follow_streams::several_sources_are_one_tail_and_one_that_is_rejected_is_named` |
//! | a poll of Log Cache fails | nothing: the next one reads the same lines | [`idle_timeout`], 1 minute; with [`Reconnect`], none | `follow::a_broken_connection_a_503_and_a_server_that_is_away_are_no_gap`, `follow::attempts_and_time_are_limited` |
//! | a server closes a connection that is kept open between two requests | nothing: it is dialled anew |  | `follow::a_kept_connection_that_the_server_has_closed_is_dialled_anew` |
//! | a router that has no route for now, while connecting again | other attempts, however long it takes | [`Reconnect`] | `reconnect::a_router_without_a_route_for_now_does_not_end_it` |
//! | an RLP gateway that answers every token with 404, while connecting again | other attempts, and then [`Unauthorized`] | 15 s in a row or a minute in total, and 3 attempts | `reconnect::a_gateway_that_can_not_check_tokens_for_now_does_not_end_it`, `reconnect::a_rejection_of_every_token_ends_it_after_fifteen_seconds` |
//! | the server has moved, while connecting again | the API is asked again | once per attempt | `reconnect::a_tail_whose_server_has_moved_finds_it_by_the_api`, `reconnect::the_api_is_asked_at_most_once_per_attempt`, `reconnect::an_api_that_is_away_does_not_end_a_tail_whose_server_comes_back` |
//!
//! # Recent messages
//!
//! All of these errors have the messages before them in [`recovered`].
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | a multipart body without its closing delimiter | [`Truncated`] |  | `bad_input/recent::a_body_delimited_by_eof_that_is_cut_short_is_truncated`, `bad_input/recent::a_body_without_any_delimiter_is_truncated` |
//! | a Content-Type without a usable boundary | [`BadResponse`] |  | `bad_input/recent::a_content_type_without_a_usable_boundary_is_a_bad_response` |
//! | an endless preamble, or endless headers of a part | [`BadResponse`] | 64 KiB, 16 KiB | `bad_input/recent::an_endless_preamble_is_a_bad_response`, `bad_input/recent::endless_part_headers_are_an_error` |
//! | an endless message | [`TooLarge`] | [`max_message_size`], 16 MiB | `bad_input/recent::an_endless_part_is_too_large`, `bad_input/log_cache::an_endless_envelope_is_too_large` |
//! | endless messages | [`TooLarge`] | [`max_recent_size`], 256 MiB | `bad_input/recent::endless_parts_are_too_large`, `bad_input/log_cache::endless_messages_are_too_large` |
//! | endless messages, or pings between them, that trickle in | [`Timeout`] | [`recent_timeout`] | `bad_input/recent::endless_parts_that_drip_in_are_a_timeout`, `bad_input/recent::a_dump_that_only_pings_is_a_timeout` |
//! | undecodable parts | they are skipped, with a warning in the log; too many are a [`BadResponse`] | 1000 | `bad_input/recent::undecodable_parts_are_skipped`, `bad_input/recent::endless_undecodable_parts_are_a_bad_response` |
//! | invalid JSON | [`BadResponse`] or [`Truncated`] |  | `bad_input/log_cache::invalid_json_is_an_error_with_the_messages_before_it` |
//! | a page of Log Cache that would be too large: 429, or 403, with gRPC's code 8 | nothing: smaller pages are requested; if one message is still too large, [`ServerError`] | 10 requests | `log_cache::a_response_that_is_too_large_is_requested_in_smaller_pages`, `rate_limits::a_rate_limit_is_told_apart_from_a_response_that_is_too_large` |
//! | a Log Cache 1.x, which has another path | nothing: its path is found once | one more request | `log_cache::the_path_of_log_cache_1_is_found_once_and_remembered`, `log_cache::a_server_that_knows_neither_path_is_not_a_log_cache` |
//! | a Log Cache that does not know one path, and fails at the other | the second error, and nothing is remembered |  | `log_cache::the_failure_of_the_second_request_is_not_taken_for_a_wrong_address`, `log_cache::a_rate_limit_or_a_router_does_not_tell_the_version` |
//! | a Log Cache that ignores the end of a page, such as Korifi's | each message once, and a warning in the log |  | `log_cache::a_server_that_ignores_the_end_of_a_page_is_asked_twice_and_no_line_is_doubled` |
//!
//! # Log Cache and metrics
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | equal times at the end of a page of [`read`] | each envelope once, in both directions |  | `stored/read::every_envelope_comes_once_in_both_directions_on_each_generation` |
//! | a page of [`read`] without an end | [`TooLarge`] | [`max_recent_size`], 256 MiB | `stored/read::a_page_without_an_end_is_too_large` |
//! | a page of [`read`] that is too large for Log Cache | nothing: smaller pages are requested | 10 requests | `stored/read::pages_that_are_too_large_for_the_server_are_requested_in_smaller_ones` |
//! | a request for a further page of [`read`] fails | its error, after the envelopes of the pages before; then nothing more |  | `stored/read::a_failure_between_two_pages_is_the_last_item` |
//! | a token expires, or the consumer is closed, between two pages of [`read`] | a new token, as in any call; [`Closed`] |  | `stored/read::a_token_that_expires_between_two_pages_is_renewed`, `stored/read::a_close_ends_it_at_the_next_page` |
//! | envelopes of a type that is unknown, or with unknown fields | they are left out; the fields are ignored |  | `stored/read::envelopes_of_a_later_server_are_kept_out_of_the_way` |
//! | a result of PromQL, or another response, that is not what it should be, is cut short or has no end | [`BadResponse`], [`Truncated`], [`TooLarge`] | [`max_recent_size`], 256 MiB; 16 MiB for a query; 64 KiB for `info` | `stored/queries::a_result_that_is_invalid_cut_short_or_endless_is_an_error`, `stored/queries::a_result_of_more_than_16_mib_is_too_large_because_it_takes_far_more_memory` |
//! | a server that falls silent in such a response | [`Timeout`] | [`read_timeout`], [`recent_timeout`] | `stored/queries::a_silent_server_is_a_timeout_and_a_close_interrupts_the_wait` |
//! | an invalid PromQL query, or an error of PromQL in a response with status 200 | [`BadRequest`] or [`ServerError`], with [`error_type`] |  | `stored/queries::an_invalid_query_and_a_foreign_source_are_told_apart`, `stored/queries::warnings_and_failures_within_a_success_are_returned` |
//! | Korifi, which has neither `meta` nor PromQL; a foundation without Log Cache | [`NotFound`] that says so; [`InvalidInput`] |  | `stored/meta_and_info::korifi_has_info_and_neither_meta_nor_promql`, `stored/meta_and_info::a_rejected_token_and_a_foundation_without_log_cache_are_told_apart` |
//! | metrics of an instance that was scaled away | it is no longer returned | 2 minutes, by the server's clock | `stored/metrics::an_instance_without_metrics_for_two_minutes_has_ended`, `stored/metrics::two_minutes_are_measured_by_the_servers_clock` |
//! | endless metrics | [`TooLarge`] | [`max_recent_size`], 256 MiB | `stored/metrics::endless_metrics_are_too_large` |
//!
//! # The caller's side
//!
//! | fault | what the caller sees | bound | test |
//! |---|---|---|---|
//! | an invalid argument | [`InvalidInput`], and nothing is sent | 1024 bytes for an endpoint or a GUID | `bad_input/arguments::an_empty_guid_is_refused_before_anything_is_sent`, `bad_input/arguments::an_endpoint_or_a_guid_that_is_far_too_long_is_refused` |
//! | a close, in any state | a tail just ends, with [`Ending::Closed`]; a call returns [`Closed`] | 0.1 s | `races::a_close_at_any_moment_ends_everything_and_leaks_nothing`, `close/tails::a_tail_under_load_closes_cleanly`, `close/calls::close_ends_a_call_that_waits_for_a_response` |
//! | a close while the server does not read, or only sends | the same | 0.1 s | `close/tails::a_server_that_does_not_read_does_not_delay_a_close_and_gets_the_close_frame_later`, `close/tails::a_server_that_only_sends_notices_the_close` |
//! | a callback that closes, drops or panics | the close, the drop or the panic; nothing stays open |  | `close/callbacks::a_callback_may_close_the_consumer`, `close/callbacks::a_callback_may_drop_the_tail_that_reconnects`, `close/callbacks::a_callback_that_panics_leaves_nothing_open_and_the_consumer_still_works` |
//! | a logger that panics in the thread that reads a tail | [`BadResponse`]; not a clean end, and the tail does not hang |  | `panicking_logger::a_logger_that_panics_ends_a_tail_without_hanging_it` |
//! | a logger that blocks in the thread that reads a tail, or calls the consumer | a drop and a close return, and the connection is closed | 0.5 s | `blocking_logger::a_logger_that_blocks_or_calls_the_consumer_hangs_no_other_call` |
//! | a callback that blocks, or waits for a lock that the dropping thread holds, while a tail reconnects | the drop or the close returns | 0.1 s | `close/caller_code::a_drop_and_a_close_do_not_wait_for_a_function_that_blocks`, `close/caller_code::a_drop_under_a_lock_that_on_connect_wants_does_not_deadlock` |
//! | a callback that needs a large stack while a tail reconnects | nothing | 8 MiB | `close/caller_code::on_connect_has_a_stack_for_large_arrays_when_a_tail_reconnects` |
//! | anything that was opened, however it ended | no thread and no descriptor is leaked |  | `leaks::no_thread_or_descriptor_is_leaked` |
//! | an app GUID with white space around it | nothing: it is removed |  | `app_guids::white_space_around_a_guid_does_not_reach_a_server` |
//! | an app GUID that is a dot segment, or contains white space or a control character | [`InvalidInput`], and nothing is sent |  | `app_guids::what_cannot_be_a_guid_is_refused_before_anything_is_sent`, `app_guids::a_slash_in_a_guid_makes_no_other_path` |
//! | an app's name instead of its GUID | the server's error with a hint; no messages and a warning in the log if the server has none |  | `app_guids::the_hint_for_a_name_shows_it_without_the_white_space_around_it`, `app_guids::where_a_server_says_nothing_about_a_name_the_log_does` |
//! | a name that no app has | [`NotFound`], which lists similar names, and where else there is one |  | `app_names::the_error_of_an_unknown_name_lists_what_is_near` |
//! | a name that several apps or spaces have | [`Ambiguous`], which lists where they are |  | `app_names::without_a_target_all_spaces_are_looked_through_and_several_hits_are_listed`, `app_names::a_space_is_given_by_its_guid_its_name_or_with_its_organization` |
//! | a name with commas, semicolons, quotes or any other characters | the app that has it |  | `app_names::any_name_reaches_the_api_as_it_is` |
//! | a token function, a proxy function or a logger that uses the consumer while its token is renewed | the old token while it is valid, or [`Unauthorized`]; nothing waits for itself |  | `reentry::a_token_function_that_uses_the_consumer_gets_an_error`, `reentry::a_proxy_function_that_uses_the_consumer_while_a_uaa_is_dialled_gets_an_error`, `reentering_logger::a_logger_may_use_the_consumer_whatever_is_logged_about_its_tokens` |
//! | a proxy function that panics while a token is requested | an error, and the next call requests a token again |  | `reentry::a_proxy_function_that_panics_while_a_uaa_is_dialled_is_an_error` |
//! | a UAA without TLS, while the servers have it | [`InvalidInput`] from `build` | [`danger_allow_plain_servers`] | `choosing::a_uaa_without_tls_is_refused_if_the_servers_have_it` |
//! | a session of `cf` for another API than the one that is set by hand | nothing of it is used: a call without a token is [`InvalidInput`], and certificates are verified |  | `choosing::what_is_given_by_hand_comes_before_the_session_of_cf` |
//!
//! [`ConnectionLost`]: crate::ErrorKind::ConnectionLost
//! [`Timeout`]: crate::ErrorKind::Timeout
//! [`Tls`]: crate::ErrorKind::Tls
//! [`Truncated`]: crate::ErrorKind::Truncated
//! [`Dial`]: crate::ErrorKind::Dial
//! [`Proxy`]: crate::ErrorKind::Proxy
//! [`BadResponse`]: crate::ErrorKind::BadResponse
//! [`Unauthorized`]: crate::ErrorKind::Unauthorized
//! [`NotFound`]: crate::ErrorKind::NotFound
//! [`Ambiguous`]: crate::ErrorKind::Ambiguous
//! [`ServerError`]: crate::ErrorKind::ServerError
//! [`BadRequest`]: crate::ErrorKind::BadRequest
//! [`ClosedByServer`]: crate::ErrorKind::ClosedByServer
//! [`TooLarge`]: crate::ErrorKind::TooLarge
//! [`Undecodable`]: crate::ErrorKind::Undecodable
//! [`Gap`]: crate::ErrorKind::Gap
//! [`InvalidInput`]: crate::ErrorKind::InvalidInput
//! [`Closed`]: crate::ErrorKind::Closed
//! [`Ending::Closed`]: crate::Ending::Closed
//! [`Ending::ClosedByServer`]: crate::Ending::ClosedByServer
//! [`Ending::Closing`]: crate::Ending::Closing
//! [`Ending::Dropped`]: crate::Ending::Dropped
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
//! [`app_id`]: crate::Error::app_id
//! [`recovered`]: crate::Error::recovered
//! [`error_type`]: crate::Error::error_type
//! [`read`]: crate::Consumer::read
//! [`retry_after`]: crate::Error::retry_after
//! [`Builder`]: crate::Builder
//! [`Reconnect`]: crate::Reconnect
//! [`Tail`]: crate::Tail
//! [`TokenSource`]: crate::TokenSource
//! [`horizon`]: crate::Polling::horizon
