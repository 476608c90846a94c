use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::auth::scripted_uaa::{ScriptedUaa, ask, ending_jwt, fresh_jwt};

/// A temporary folder, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        let n = LAST.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("loggregator-consumer-{}-{n}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// Writes the file that the CLI writes on login.
    fn log_in(&self, uaa: &str, access_token: &str, refresh_token: &str) -> PathBuf {
        self.write(&format!(
            r#"{{"ConfigVersion":4,"Target":"https://api.example.com","APIVersion":"3.180.0","UaaEndpoint":"{uaa}",
            "AuthorizationEndpoint":"https://login.example.com","DopplerEndPoint":"wss://doppler.example.com:443",
            "LogCacheEndPoint":"https://log-cache.example.com","AccessToken":"{access_token}",
            "RefreshToken":"{refresh_token}","UAAOAuthClient":"cf","UAAOAuthClientSecret":"","SSLDisabled":true,
            "OrganizationFields":{{"GUID":"","Name":""}},"AsyncTimeout":0,"Trace":""}}"#
        ))
    }

    fn write(&self, text: &str) -> PathBuf {
        let path = self.0.join("config.json");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn source(path: &Path) -> TokenSource {
    CfCli::read_from(path).unwrap().into_tokens().unwrap()
}

#[test]
fn reads_the_session_of_the_cli() {
    let folder = Folder::new();
    let cli = CfCli::read_from(&folder.log_in("https://uaa.example.com", "bearer hunter2", "refresh-hunter2")).unwrap();
    assert_eq!(cli.target, "https://api.example.com");
    assert_eq!(cli.doppler.as_deref(), Some("wss://doppler.example.com:443"));
    assert_eq!(cli.log_cache.as_deref(), Some("https://log-cache.example.com"));
    assert!(cli.skip_tls_validation);
    let uaa = Uaa::new("https://uaa.example.com").access_token("bearer hunter2").refresh_token("refresh-hunter2");
    assert_eq!(cli.uaa, uaa);
    assert!(!format!("{cli:?}").contains("hunter2"), "{cli:?}");
}

#[test]
fn missing_fields_have_defaults() {
    let folder = Folder::new();
    let path = folder.write(
        r#"{"Target":"https://api.example.com","AuthorizationEndpoint":"https://login.example.com","UaaEndpoint":"",
        "AccessToken":"bearer x","RefreshToken":null,"DopplerEndPoint":"","UAAOAuthClient":"tool",
        "UAAOAuthClientSecret":"hunter2"}"#,
    );
    let cli = CfCli::read_from(&path).unwrap();
    assert_eq!((cli.doppler, cli.log_cache, cli.skip_tls_validation), (None, None, false));
    assert_eq!(cli.uaa, Uaa::new("https://login.example.com").client("tool", "hunter2").access_token("bearer x"));
}

#[test]
fn says_what_to_do_if_nobody_is_logged_in() {
    let folder = Folder::new();
    let missing = folder.0.join("config.json");
    let error = CfCli::read_from(&missing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
    assert!(error.to_string().starts_with("not logged in: run `cf login`"), "{error}");
    for text in [
        "{}",
        r#"{"Target":"","UaaEndpoint":"https://u","AccessToken":"bearer x"}"#,
        r#"{"Target":"https://a","UaaEndpoint":"","AccessToken":"bearer x"}"#,
        r#"{"Target":"https://a","UaaEndpoint":"https://u","AccessToken":"","RefreshToken":"r"}"#,
    ] {
        let error = CfCli::read_from(&folder.write(text)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{text}");
        assert!(error.to_string().starts_with("not logged in: run `cf login`"), "{error}");
    }
}

#[test]
fn the_error_of_a_broken_file_names_but_does_not_quote_it() {
    let folder = Folder::new();
    for text in [
        "",
        "bearer hunter2",
        r#"{"AccessToken":"hunter2"#,
        r#"{"SSLDisabled":"hunter2"}"#,
        r#"{"Target":["hunter2"]}"#,
    ] {
        let path = folder.write(text);
        let error = CfCli::read_from(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        let shown = error.to_string();
        assert!(shown.contains(&path.display().to_string()) && shown.contains("cf login"), "{shown}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let error = CfCli::read_from(&folder.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "a folder: {error}");
}

#[test]
fn the_file_is_in_cf_home_or_in_the_home_folder() {
    let file = |folder: &str| Path::new(folder).join(".cf").join("config.json");
    let home = || Some(PathBuf::from("home"));
    assert_eq!(config_path(Some("cf-home".into()), home()).unwrap(), file("cf-home"));
    assert_eq!(config_path(Some("".into()), home()).unwrap(), file("home"));
    assert_eq!(config_path(None, home()).unwrap(), file("home"));
    assert_eq!(config_path(None, None).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_newer_token_of_the_cli_is_used_instead_of_a_renewal() {
    let folder = Folder::new();
    let (old, new) = (fresh_jwt(), format!("bearer {}", fresh_jwt()));
    let uaa = ScriptedUaa::granting(fresh_jwt());
    let source = source(&folder.log_in(&uaa.url, &old, "refresh-1"));
    let token = ask(&source, None).unwrap();
    folder.log_in(&uaa.url, &new, "refresh-1");
    assert_eq!(ask(&source, None).unwrap(), token, "the file is read only when another token is needed");
    assert_eq!(ask(&source, Some(&token)).unwrap(), new);
    assert!(uaa.requests.is_empty());
    assert_ne!(ask(&source, Some(&new)).unwrap(), token);
    assert_eq!(uaa.requests.len(), 1, "the CLI has no newer token");
}

#[test]
fn an_old_token_of_the_cli_is_renewed_and_the_file_is_not_written() {
    let folder = Folder::new();
    let renewed = fresh_jwt();
    let uaa = ScriptedUaa::granting(&renewed);
    let path = folder.log_in(&uaa.url, &ending_jwt(), "refresh-1");
    let source = source(&path);
    // Another token, but it is about to expire, too.
    folder.log_in(&uaa.url, &ending_jwt(), "refresh-2");
    let before = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    assert_eq!(ask(&source, None).unwrap(), format!("bearer {renewed}"));
    assert_eq!(uaa.next_request().body, "grant_type=refresh_token&refresh_token=refresh%2D2");
    let after = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    assert!(before == after, "the file was written");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "no other file was written");
}

#[test]
fn a_new_refresh_token_of_the_cli_replaces_the_one_from_the_uaa() {
    let folder = Folder::new();
    let uaa =
        ScriptedUaa::start(|_| (200, format!(r#"{{"access_token":"{}","refresh_token":"rotated"}}"#, fresh_jwt())));
    let path = folder.log_in(&uaa.url, &ending_jwt(), "refresh-1");
    let source = source(&path);
    let mut token = ask(&source, None).unwrap();
    token = ask(&source, Some(&token)).unwrap();
    folder.log_in(&uaa.url, &ending_jwt(), "refresh-2");
    ask(&source, Some(&token)).unwrap();
    for refresh_token in ["refresh%2D1", "rotated", "refresh%2D2"] {
        assert_eq!(uaa.next_request().body, format!("grant_type=refresh_token&refresh_token={refresh_token}"));
    }
}

#[test]
fn logging_out_ends_the_session_of_the_source() {
    let folder = Folder::new();
    let uaa = ScriptedUaa::granting(fresh_jwt());
    let source = source(&folder.log_in(&uaa.url, &fresh_jwt(), "refresh-1"));
    let token = ask(&source, None).unwrap();
    folder.log_in(&uaa.url, "", "");
    let error = ask(&source, Some(&token)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("run `cf login`"), "{error}");
    assert!(uaa.requests.is_empty());
}

#[test]
fn a_session_at_another_uaa_is_not_used() {
    let folder = Folder::new();
    let (renewed, elsewhere) = (fresh_jwt(), fresh_jwt());
    let uaa = ScriptedUaa::granting(&renewed);
    let source = source(&folder.log_in(&uaa.url, &fresh_jwt(), "refresh-1"));
    let token = ask(&source, None).unwrap();
    folder.log_in("https://uaa.elsewhere.example.com", &elsewhere, "refresh-2");
    assert_eq!(ask(&source, Some(&token)).unwrap(), format!("bearer {renewed}"));
    assert_eq!(uaa.next_request().body, "grant_type=refresh_token&refresh_token=refresh%2D1");
}

#[test]
fn a_file_that_is_being_written_does_not_end_the_session() {
    let folder = Folder::new();
    let renewed = fresh_jwt();
    let uaa = ScriptedUaa::granting(&renewed);
    let source = source(&folder.log_in(&uaa.url, &fresh_jwt(), "refresh-1"));
    let token = ask(&source, None).unwrap();
    folder.write(r#"{"ConfigVersion":4,"#);
    assert_eq!(ask(&source, Some(&token)).unwrap(), format!("bearer {renewed}"));
}
