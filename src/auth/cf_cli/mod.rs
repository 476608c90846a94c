//! [`CfCli`]: where the `cf` CLI is logged in, read from its configuration. Never written: that is the CLI's to do.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::auth::{TokenSource, Uaa};
use crate::error::{Error, ErrorKind, Result};

impl TokenSource {
    /// The tokens of the session of the `cf` CLI, as `cf login` began it.
    ///
    /// It is read from `$CF_HOME/.cf/config.json`, or `~/.cf/config.json` where `CF_HOME` is not set. That file is read
    /// again each time another token is needed: if the CLI has got one meanwhile, that is used. Otherwise one is got
    /// from the UAA. The file is never written. So where a UAA gives a refresh token only one use, which is not its
    /// default, the CLI must log in again after that.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthorized`] if nobody is logged in; [`ErrorKind::InvalidInput`] if the file can't be read, or is
    /// not the CLI's.
    ///
    /// ```no_run
    /// use loggregator_consumer::TokenSource;
    ///
    /// let token = TokenSource::cf_cli()?;
    /// # Ok::<(), loggregator_consumer::Error>(())
    /// ```
    pub fn cf_cli() -> Result<Self> {
        CfCli::read()?.into_tokens()
    }
}

/// Where the CLI is logged in.
#[derive(Debug)]
pub(crate) struct CfCli {
    /// The address of the Cloud Controller.
    pub(crate) target: String,
    /// The addresses of servers, where the CLI has kept them: not all of its versions do.
    pub(crate) doppler: Option<String>,
    pub(crate) log_cache: Option<String>,
    /// Whether certificates are accepted as they come (`cf login --skip-ssl-validation`).
    pub(crate) skip_tls_validation: bool,
    pub(crate) uaa: Uaa,
    path: PathBuf,
}

/// The file, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    target: Option<String>,
    uaa_endpoint: Option<String>,
    authorization_endpoint: Option<String>,
    #[serde(rename = "DopplerEndPoint")]
    doppler: Option<String>,
    #[serde(rename = "LogCacheEndPoint")]
    log_cache: Option<String>,
    #[serde(rename = "SSLDisabled")]
    ssl_disabled: Option<bool>,
    access_token: Option<String>,
    refresh_token: Option<String>,
    #[serde(rename = "UAAOAuthClient")]
    client: Option<String>,
    #[serde(rename = "UAAOAuthClientSecret")]
    client_secret: Option<String>,
}

impl CfCli {
    pub(crate) fn read() -> Result<Self> {
        Self::read_from(&config_path(env::var_os("CF_HOME"), env::home_dir())?)
    }

    pub(crate) fn read_from(path: &Path) -> Result<Self> {
        let shown = path.display();
        let not_logged_in =
            |why: &str| Error::new(ErrorKind::Unauthorized, format!("not logged in: run `cf login` ({shown} {why})"));
        let text = fs::read(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => not_logged_in("is not there"),
            _ => Error::caused(ErrorKind::InvalidInput, format_args!("reading {shown}"), cause),
        })?;
        let config: Config = serde_json::from_slice(&text).map_err(|cause| {
            // Its text could hold a token.
            let (line, column) = (cause.line(), cause.column());
            let text = format!("{shown} is no configuration of the cf CLI (line {line}, column {column})");
            Error::new(ErrorKind::InvalidInput, format!("{text}: `cf login` writes a new one"))
        })?;
        let set = |value: Option<String>| value.filter(|value| !value.is_empty());
        let target = set(config.target).ok_or_else(|| not_logged_in("names no API endpoint"))?;
        let url = set(config.uaa_endpoint)
            .or(set(config.authorization_endpoint))
            .ok_or_else(|| not_logged_in("names no UAA"))?;
        let access_token = set(config.access_token).ok_or_else(|| not_logged_in("holds no token"))?;
        let mut uaa =
            Uaa::new(&url).access_token(&access_token).refresh_token(&config.refresh_token.unwrap_or_default());
        if let Some(client) = set(config.client) {
            uaa = uaa.client(&client, &config.client_secret.unwrap_or_default());
        }
        Ok(CfCli {
            target,
            doppler: set(config.doppler),
            log_cache: set(config.log_cache),
            skip_tls_validation: config.ssl_disabled.unwrap_or_default(),
            uaa,
            path: path.to_owned(),
        })
    }

    /// The tokens of this session, and of those that the CLI replaces it by.
    pub(crate) fn into_tokens(self) -> Result<TokenSource> {
        let CfCli { uaa, path, .. } = self;
        TokenSource::session(uaa, Some(Box::new(move || Ok(CfCli::read_from(&path)?.uaa))))
    }
}

/// Where the CLI keeps its configuration.
fn config_path(cf_home: Option<OsString>, home: Option<PathBuf>) -> Result<PathBuf> {
    let home = cf_home.filter(|path| !path.is_empty()).map(PathBuf::from).or(home).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "there is no home folder: set CF_HOME to the folder that holds .cf")
    })?;
    Ok(home.join(".cf").join("config.json"))
}

#[cfg(test)]
mod tests;
