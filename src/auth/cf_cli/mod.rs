//! [`CfCli`]: the session of the `cf` CLI, read from its configuration file. Only the CLI writes that file.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::auth::{TokenSource, Uaa};
use crate::error::{Error, ErrorKind, Result};

impl TokenSource {
    /// Returns a source for the session of the `cf` CLI, which `cf login` starts.
    ///
    /// The session is read from `$CF_HOME/.cf/config.json`, or from `~/.cf/config.json` if `CF_HOME` is not set. The
    /// file is read again each time another token is needed: a token that the CLI has received meanwhile is used,
    /// otherwise one is requested from the UAA. The file is never written. So if the UAA allows only one use of a
    /// refresh token, which is not its default, the CLI must log in again afterwards.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthorized`] if nobody is logged in; [`ErrorKind::InvalidInput`] if the file cannot be read or is
    /// not a configuration of the CLI.
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

/// The session of the CLI.
#[derive(Debug)]
pub(crate) struct CfCli {
    /// The address of the Cloud Controller.
    pub(crate) target: String,
    /// The addresses of servers. Not all versions of the CLI store them.
    pub(crate) doppler: Option<String>,
    pub(crate) log_cache: Option<String>,
    /// Whether certificates are not verified (`cf login --skip-ssl-validation`).
    pub(crate) skip_tls_validation: bool,
    pub(crate) uaa: Uaa,
    path: PathBuf,
}

/// The fields of the file that are read.
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
            io::ErrorKind::NotFound => not_logged_in("does not exist"),
            _ => Error::caused(ErrorKind::InvalidInput, format_args!("reading {shown}"), cause),
        })?;
        let config: Config = serde_json::from_slice(&text).map_err(|cause| {
            // Only its position is shown, because its text could contain a token.
            let (line, column) = (cause.line(), cause.column());
            let text = format!("{shown} is not a configuration of the cf CLI (line {line}, column {column})");
            Error::new(ErrorKind::InvalidInput, format!("{text}: run `cf login` to write a new one"))
        })?;
        let set = |value: Option<String>| value.filter(|value| !value.is_empty());
        let target = set(config.target).ok_or_else(|| not_logged_in("contains no API endpoint"))?;
        let url = set(config.uaa_endpoint)
            .or(set(config.authorization_endpoint))
            .ok_or_else(|| not_logged_in("contains no UAA address"))?;
        let access_token = set(config.access_token).ok_or_else(|| not_logged_in("contains no token"))?;
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

    /// Returns a source for this session, and for a session by which the CLI replaces it.
    pub(crate) fn into_tokens(self) -> Result<TokenSource> {
        let CfCli { uaa, path, .. } = self;
        TokenSource::session(uaa, Some(Box::new(move || Ok(CfCli::read_from(&path)?.uaa))))
    }
}

/// Returns the path of the CLI's configuration.
fn config_path(cf_home: Option<OsString>, home: Option<PathBuf>) -> Result<PathBuf> {
    let home = cf_home.filter(|path| !path.is_empty()).map(PathBuf::from).or(home).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "there is no home folder: set CF_HOME to the folder that contains .cf")
    })?;
    Ok(home.join(".cf").join("config.json"))
}

#[cfg(test)]
mod tests;
