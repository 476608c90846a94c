//! What a [`TrafficController`] has beyond its logs: an API, tokens, and apps that are hidden.

use std::path::Path;
use std::{fs, io};

use serde_json::json;

use super::TrafficController;
use super::gateway::CLOSING;
use super::logged::Wire;
use super::outbox::Last;

impl TrafficController {
    /// The address of the API, `http://127.0.0.1:<port>`, or `https://` with [TLS](super::Builder::tls): what to give
    /// to [`Consumer::discover`](crate::Consumer::discover). Log Cache, the RLP gateway and the UAA have the same one.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, Proxy, Via};
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// let consumer = Builder::new().api(&server.api()).proxy(Proxy::none()).build()?;
    /// assert_eq!(consumer.tail_choice()?.via(), Via::Doppler);
    /// assert_eq!(consumer.recent_choice()?.via(), Via::LogCache);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn api(&self) -> String {
        self.shared.http_url()
    }

    /// A new access token of the UAA, with its `bearer `: accepted for its [life](super::Builder::token_life), and
    /// refused from then on, whatever tokens are accepted besides.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// let token = server.issue_token();
    /// assert!(token.starts_with("bearer ey"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn issue_token(&self) -> String {
        let life = self.shared.settings.token_life;
        format!("bearer {}", self.shared.update(|state| state.tokens.issue(life)).jwt)
    }

    /// A new refresh token, for which the UAA gives access tokens to the client `cf`, which has no secret: to
    /// `POST /oauth/token` with `grant_type=refresh_token`. Unknown ones are answered with 401.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, Proxy, TokenSource, Uaa};
    ///
    /// const APP: &str = "11111111-1111-1111-1111-111111111111";
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// let tokens = TokenSource::uaa(Uaa::new(&server.api()).refresh_token(&server.issue_refresh_token()))?;
    /// let consumer = Builder::new().api(&server.api()).tokens(tokens).proxy(Proxy::none()).build()?;
    /// consumer.recent(APP, "")?;
    /// server.expire_tokens();
    /// consumer.recent(APP, "")?; // with another one
    /// assert_eq!(server.refreshes(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn issue_refresh_token(&self) -> String {
        self.shared.update(|state| state.tokens.issue_refresh_token())
    }

    /// How many access tokens were got with refresh tokens.
    pub fn refreshes(&self) -> usize {
        self.shared.with(|state| state.tokens.refreshes)
    }

    /// Lets every access token that was issued so far expire now.
    pub fn expire_tokens(&self) {
        self.shared.update(|state| state.tokens.expire());
    }

    /// Revokes every refresh token that was issued so far, as when a user logs out.
    pub fn revoke_refresh_tokens(&self) {
        self.shared.update(|state| state.tokens.revoke_refresh_tokens());
    }

    /// Refuses the next so many requests for logs, whatever their tokens are, as each server refuses a bad one.
    pub fn refuse_tokens(&self, requests: usize) {
        self.shared.update(|state| state.refusals = requests);
    }

    /// Hides an app from every token, as if it had been deleted: Doppler and Log Cache answer with 404, and so does the
    /// RLP gateway with the words that it has for a refused token. Tails that are open stay so.
    pub fn hide_app(&self, app: &str) {
        self.shared.update(|state| state.hidden.insert(app.to_owned()));
    }

    /// Ends every stream of the RLP gateway of an app as its [timeout](super::Builder::stream_timeout) does: with the
    /// event `closing`, and then the end of the answer, behind which the connection stays open. Says how many there
    /// were. Websockets are left alone.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    /// use loggregator_consumer::{Builder, Ending, Proxy};
    ///
    /// const APP: &str = "11111111-1111-1111-1111-111111111111";
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// let consumer = Builder::new().rlp_gateway(&server.api()).proxy(Proxy::none()).build()?;
    /// let mut tail = consumer.tail(APP, "bearer token")?;
    /// assert_eq!(server.close_streams(APP), 1);
    /// while tail.next().is_some() {}
    /// assert!(matches!(tail.ending(), Some(Ending::Closing { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close_streams(&self, app: &str) -> usize {
        let tails = self.tails(app).into_iter();
        let streams = tails.filter(|tail| tail.wire == Wire::Gateway);
        streams.filter(|stream| stream.end(Last::Close, |out| out.extend_from_slice(CLOSING))).count()
    }

    /// Logs the `cf` command line in to this foundation: writes the file of its session, `.cf/config.json`, into a
    /// folder, which is what to set `CF_HOME` to. Its tokens are new ones.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, TrafficController};
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// let home = std::env::temp_dir().join(format!("cf-home-{}", std::process::id()));
    /// server.cf_home(&home)?;
    /// let session = std::fs::read_to_string(home.join(".cf/config.json"))?;
    /// assert!(session.contains(&server.api()));
    /// # std::fs::remove_dir_all(home)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the file can't be written. Folders that lack are made.
    pub fn cf_home(&self, dir: impl AsRef<Path>) -> io::Result<()> {
        let generation = self.shared.settings.generation;
        let only_if = |is_there, url| if is_there { url } else { String::new() };
        let session = json!({
            "ConfigVersion": 4,
            "Target": self.api(),
            "AuthorizationEndpoint": self.api(),
            "UaaEndpoint": self.api(),
            "DopplerEndPoint": only_if(generation.has_doppler(), self.endpoint()),
            "LogCacheEndPoint": only_if(generation.has_log_cache(), self.api()),
            "AccessToken": self.issue_token(),
            "RefreshToken": self.issue_refresh_token(),
            "UAAOAuthClient": "cf",
            "UAAOAuthClientSecret": "",
            // The built-in certificate is none that `cf` could trust.
            "SSLDisabled": self.shared.settings.tls,
        });
        let dir = dir.as_ref().join(".cf");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("config.json"), format!("{session:#}\n"))
    }
}
