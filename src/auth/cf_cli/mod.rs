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
    /// The session is read from `.cf/config.json` in the folder where `cf` keeps it: `CF_HOME` if that is set, or else
    /// the home folder, which is `HOME`, and on Windows `HOMEDRIVE` with `HOMEPATH`, or else `USERPROFILE`. The
    /// file is read again each time another token is needed: a token that the CLI has received meanwhile is used,
    /// otherwise one is requested from the UAA. The file is never written. So if the UAA allows only one use of a
    /// refresh token, which is not its default, the CLI must log in again afterwards.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthorized`] if nobody is logged in, or if the CLI is logged in to Korifi (Cloud Foundry on
    /// Kubernetes), for which it keeps no token; [`ErrorKind::InvalidInput`] if the file cannot be read or is not a
    /// configuration of the CLI.
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

    /// Returns a source for the session of the `cf` CLI that is kept at `path`, as in
    /// [`Builder::cf_cli_from`](crate::Builder::cf_cli_from): a directory that contains `.cf/config.json`, or that file.
    ///
    /// # Errors
    ///
    /// Those of [`cf_cli`](TokenSource::cf_cli).
    pub fn cf_cli_from(path: impl AsRef<Path>) -> Result<Self> {
        CfCli::read_at(path.as_ref())?.into_tokens()
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
    /// Where `cf target` points to.
    pub(crate) place: TargetPlace,
    pub(crate) uaa: Uaa,
    path: PathBuf,
}

/// The organization and the space that `cf target` has set, as far as it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TargetPlace {
    pub(crate) organization: Option<Named>,
    pub(crate) space: Option<Named>,
}

/// An organization or a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) guid: String,
    pub(crate) name: String,
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
    organization_fields: Option<Fields>,
    space_fields: Option<Fields>,
    #[serde(rename = "CFOnK8s")]
    on_kubernetes: Option<OnKubernetes>,
}

/// What the CLI stores about an organization or a space. Both fields are empty if none is set.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fields {
    #[serde(rename = "GUID")]
    guid: Option<String>,
    name: Option<String>,
}

impl Fields {
    fn named(self) -> Option<Named> {
        let guid = self.guid.filter(|guid| !guid.is_empty())?;
        Some(Named { name: self.name.filter(|name| !name.is_empty()).unwrap_or_else(|| guid.clone()), guid })
    }
}

/// What the CLI stores about Korifi, Cloud Foundry on Kubernetes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OnKubernetes {
    enabled: Option<bool>,
}

impl CfCli {
    pub(crate) fn read() -> Result<Self> {
        let home = home_folder(|name| env::var_os(name), cfg!(windows)).or_else(env::home_dir);
        Self::read_from(&config_path(home)?)
    }

    /// Reads the session in a folder that `CF_HOME` could name, or in a file.
    pub(crate) fn read_at(path: &Path) -> Result<Self> {
        if path.is_dir() { Self::read_from(&config_in(path)) } else { Self::read_from(path) }
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
        let set = |value: Option<String>| value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let access_token = set(config.access_token);
        if access_token.is_none() && config.on_kubernetes.is_some_and(|korifi| korifi.enabled == Some(true)) {
            return Err(Error::new(
                ErrorKind::Unauthorized,
                format!(
                    "cf is logged in to Korifi (Cloud Foundry on Kubernetes), for which it keeps no token in {shown}: \
                     set the address of the API with Builder::api, and pass a Kubernetes token to each call, such as \
                     `bearer ` with what `kubectl create token` prints"
                ),
            ));
        }
        let target = set(config.target).ok_or_else(|| not_logged_in("contains no API endpoint"))?;
        let url = set(config.uaa_endpoint)
            .or(set(config.authorization_endpoint))
            .ok_or_else(|| not_logged_in("contains no UAA address"))?;
        let access_token = access_token.ok_or_else(|| not_logged_in("contains no token"))?;
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
            place: TargetPlace {
                organization: config.organization_fields.and_then(Fields::named),
                space: config.space_fields.and_then(Fields::named),
            },
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

/// Returns the folder that contains the CLI's `.cf`, as the CLI finds it. `variable` looks up a variable of the
/// environment.
fn home_folder(variable: impl Fn(&str) -> Option<OsString>, is_windows: bool) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let from_home = || set("HOME");
    let from_windows = || {
        // Two halves of one path, such as `C:` and `\Users\name`. `Path::join` would not put them together.
        let [mut home, path] = ["HOMEDRIVE", "HOMEPATH"].map(|name| variable(name).unwrap_or_default());
        home.push(path);
        Some(home).filter(|home| !home.is_empty()).or_else(|| set("USERPROFILE"))
    };
    let home = set("CF_HOME").or_else(|| if is_windows { from_windows() } else { from_home() });
    home.map(PathBuf::from)
}

/// Returns the path of the CLI's configuration.
fn config_path(home: Option<PathBuf>) -> Result<PathBuf> {
    let home = home.ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "there is no home folder: set CF_HOME to the folder that contains .cf")
    })?;
    Ok(config_in(&home))
}

fn config_in(home: &Path) -> PathBuf {
    home.join(".cf").join("config.json")
}

#[cfg(test)]
mod tests;
