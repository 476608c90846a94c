//! What a [`TrafficController`] has besides logs: the API, tokens, hidden apps, and the session of the `cf` command
//! line.

use std::path::Path;
use std::{fs, io};

use serde_json::json;

use super::TrafficController;
use crate::testing::config::generation::Generation;
use crate::testing::config::server::{RouterError, Server};
use crate::testing::servers::api::V3_VERSION;
use crate::testing::servers::cloud_controller::{ORGANIZATION, ORGANIZATION_NAME, SPACE, SPACE_NAME};
use crate::testing::state::tokens::TokenOwner;

impl TrafficController {
    /// Returns the address of the API, for [`Consumer::discover`](crate::Consumer::discover):
    /// `http://127.0.0.1:<port>`, or `https://` with [TLS](crate::testing::TrafficControllerBuilder::tls). Log Cache,
    /// the RLP gateway and the UAA have the same address.
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

    /// Issues an access token of the UAA and returns it, including `bearer `. It is accepted for its
    /// [lifetime](crate::testing::TrafficControllerBuilder::token_life), and rejected from then on, even if other
    /// tokens are accepted without a check.
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
        format!("bearer {}", self.shared.update(|state| state.tokens.issue(life, &TokenOwner::default())).jwt)
    }

    /// [Issues](TrafficController::issue_token) an access token of an admin, with the scopes `doppler.firehose` and
    /// `logs.admin`. It may read the firehose (`/firehose/<subscription id>`), every source of Log Cache and of the RLP
    /// gateway, and all sources of the RLP gateway at once.
    pub fn issue_admin_token(&self) -> String {
        let life = self.shared.settings.token_life;
        format!("bearer {}", self.shared.update(|state| state.tokens.issue(life, &TokenOwner::Admin)).jwt)
    }

    /// Issues a refresh token and returns it. For `POST /oauth/token` with `grant_type=refresh_token` and this token,
    /// the UAA issues access tokens to the client `cf`, which has no secret. It answers unknown refresh tokens with
    /// 401.
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
    /// consumer.recent(APP, "")?; // with a new token
    /// assert_eq!(server.refreshes(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn issue_refresh_token(&self) -> String {
        self.shared.update(|state| state.tokens.issue_refresh_token())
    }

    /// Returns how many access tokens the UAA has issued for refresh tokens.
    pub fn refreshes(&self) -> usize {
        self.shared.with(|state| state.tokens.refreshes)
    }

    /// Makes every access token that was issued so far expire now.
    pub fn expire_tokens(&self) {
        self.shared.update(|state| state.tokens.expire());
    }

    /// Revokes every refresh token that was issued so far, as a logout does.
    pub fn revoke_refresh_tokens(&self) {
        self.shared.update(|state| state.tokens.revoke_refresh_tokens());
    }

    /// Rejects this many of the next requests for logs, even with valid tokens. Each server responds as it does to an
    /// invalid token.
    pub fn refuse_tokens(&self, requests: usize) {
        self.shared.update(|state| state.tokens_to_reject = requests);
    }

    /// Takes a server away, as if it restarted: the router in front of it answers requests for it with this error. What
    /// is open stays open.
    ///
    /// While [`Server::Uaa`] or [`Server::Api`] is away, the servers of logs cannot check tokens. The RLP gateway and
    /// Log Cache then answer every token as an invalid one, Doppler with 500, and the legacy servers as those of their
    /// time did.
    ///
    /// ```
    /// use loggregator_consumer::testing::{Generation, RouterError, Server, TrafficController};
    ///
    /// let server = TrafficController::of(Generation::Today)?;
    /// server.take_away(Server::Uaa, RouterError::NoEndpoints);
    /// // Here, no token is accepted, and the UAA answers with 503.
    /// server.bring_back(Server::Uaa);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_away(&self, server: Server, error: RouterError) {
        self.shared.update(|state| state.away.insert(server, error));
    }

    /// Brings back a server that was [taken away](TrafficController::take_away).
    pub fn bring_back(&self, server: Server) {
        self.shared.update(|state| state.away.remove(&server));
    }

    /// Hides an app from every token, as if it had been deleted: Doppler, Log Cache and the RLP gateway answer with
    /// 404, the RLP gateway with the same body as for a rejected token, and so do all paths of 2016. The servers before
    /// answer as to a rejected token. Open tails stay open.
    pub fn hide_app(&self, app: &str) {
        self.shared.update(|state| state.hidden_apps.insert(app.to_owned()));
    }

    /// Logs the `cf` command line in to this foundation: writes its session file, `.cf/config.json`, into the directory
    /// `dir`, to which `CF_HOME` can then be set. The session gets new tokens, except on [`Generation::Korifi`], where
    /// `cf` uses those of `kubectl`.
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
    /// If the file cannot be written. Missing directories are created.
    pub fn cf_home(&self, dir: impl AsRef<Path>) -> io::Result<()> {
        self.write_session(dir.as_ref(), &self.issue_token())
    }

    /// [Logs](TrafficController::cf_home) an [admin](TrafficController::issue_admin_token) in. When the session's token has
    /// expired, the next one is that of a user.
    ///
    /// # Errors
    ///
    /// Those of [`cf_home`](TrafficController::cf_home).
    pub fn cf_home_of_admin(&self, dir: impl AsRef<Path>) -> io::Result<()> {
        self.write_session(dir.as_ref(), &self.issue_admin_token())
    }

    fn write_session(&self, dir: &Path, token: &str) -> io::Result<()> {
        let settings = &self.shared.settings;
        let generation = settings.generation;
        let url_if = |exists, url| if exists { url } else { String::new() };
        let mut session = json!({
            "ConfigVersion": 4,
            "Target": self.api(),
            "APIVersion": V3_VERSION,
            "MinCLIVersion": "",
            "MinRecommendedCLIVersion": "",
            "RoutingAPIEndpoint": url_if(!generation.has_legacy(), format!("{}/routing", self.api())),
            "NetworkPolicyV1Endpoint": url_if(!generation.has_legacy(), format!("{}/networking/v1/external", self.api())),
            "OrganizationFields": { "GUID": ORGANIZATION, "Name": ORGANIZATION_NAME },
            "SpaceFields": { "GUID": SPACE, "Name": SPACE_NAME, "AllowSSH": true },
            "SSHOAuthClient": "ssh-proxy",
            "UAAGrantType": "",
            "AsyncTimeout": 0,
            "ColorEnabled": "",
            "Locale": "",
            "PluginRepos": null,
            "Trace": "",
            "AuthorizationEndpoint": self.api(),
            "UaaEndpoint": self.api(),
            "DopplerEndPoint": url_if(settings.has_doppler(), self.endpoint()),
            "LogCacheEndPoint": url_if(generation.has_log_cache(), self.api()),
            "AccessToken": token,
            "RefreshToken": self.issue_refresh_token(),
            "UAAOAuthClient": "cf",
            "UAAOAuthClientSecret": "",
            // `cf` does not trust the built-in certificate.
            "SSLDisabled": settings.tls,
        });
        if generation == Generation::Korifi {
            session["CFOnK8s"] = json!({ "Enabled": true, "AuthInfo": "user" });
            for name in ["UaaEndpoint", "AccessToken", "RefreshToken"] {
                session[name] = "".into();
            }
        }
        let dir = dir.join(".cf");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("config.json"), format!("{session:#}\n"))
    }
}
