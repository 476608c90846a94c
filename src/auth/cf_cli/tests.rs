use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::auth::scripted_uaa::{ScriptedUaa, ask, dialer, ending_jwt, fresh_jwt};
use crate::net::cancel::Cancel;

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
            "OrganizationFields":{{"GUID":"org-guid","Name":"org"}},"SpaceFields":{{"GUID":"space-guid","Name":"dev",
            "AllowSSH":true}},"AsyncTimeout":0,"Trace":""}}"#
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
    let named = |guid: &str, name: &str| Some(Named { guid: guid.to_owned(), name: name.to_owned() });
    assert_eq!(cli.place, TargetPlace { organization: named("org-guid", "org"), space: named("space-guid", "dev") });
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
        "OrganizationFields":{"GUID":"","Name":""},"SpaceFields":null,
        "UAAOAuthClientSecret":"hunter2"}"#,
    );
    let cli = CfCli::read_from(&path).unwrap();
    assert_eq!((cli.doppler, cli.log_cache, cli.skip_tls_validation), (None, None, false));
    assert_eq!(cli.place, TargetPlace::default());
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
fn the_file_is_in_the_folder_where_the_cli_looks_for_it() {
    const UNIX: bool = false;
    const WINDOWS: bool = true;
    for (is_windows, variables, expected) in [
        (UNIX, &[("CF_HOME", "cf-home"), ("HOME", "home")][..], Some("cf-home")),
        (UNIX, &[("CF_HOME", ""), ("HOME", "home")], Some("home")),
        (UNIX, &[("HOME", "home"), ("HOMEDRIVE", "C:"), ("HOMEPATH", "/u"), ("USERPROFILE", "profile")], Some("home")),
        (UNIX, &[("USERPROFILE", "profile")], None),
        (WINDOWS, &[("CF_HOME", "cf-home"), ("HOMEDRIVE", "C:"), ("HOMEPATH", "/u")], Some("cf-home")),
        (
            WINDOWS,
            &[("HOMEDRIVE", "C:"), ("HOMEPATH", "/u"), ("USERPROFILE", "profile"), ("HOME", "home")],
            Some("C:/u"),
        ),
        (WINDOWS, &[("HOMEDRIVE", ""), ("HOMEPATH", "/u"), ("USERPROFILE", "profile")], Some("/u")),
        (WINDOWS, &[("HOMEDRIVE", ""), ("USERPROFILE", "profile"), ("HOME", "home")], Some("profile")),
        (WINDOWS, &[("USERPROFILE", ""), ("HOME", "home")], None),
        (WINDOWS, &[], None),
    ] {
        let variable =
            |name: &str| variables.iter().find(|variable| variable.0 == name).map(|variable| variable.1.into());
        assert_eq!(home_folder(variable, is_windows), expected.map(PathBuf::from), "{is_windows} {variables:?}");
    }
    assert_eq!(config_path(Some("home".into())).unwrap(), Path::new("home").join(".cf").join("config.json"));
    assert_eq!(config_path(None).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_session_of_korifi_says_what_it_is_and_what_to_do() {
    let folder = Folder::new();
    for tokens in ["", r#","AccessToken":"","RefreshToken":"","UaaEndpoint":"","AuthorizationEndpoint":"""#] {
        let path = folder.write(&format!(
            r#"{{"Target":"https://api.example.com","CFOnK8s":{{"Enabled":true,"AuthInfo":"kind-user"}}{tokens}}}"#
        ));
        let error = CfCli::read_from(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        let text = error.to_string();
        for part in ["Korifi", "Builder::api", "kubectl"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("cf login"), "{text}");
    }
    // Not Korifi, or with a token all the same.
    let missing = folder.write(r#"{"Target":"https://a","CFOnK8s":{"Enabled":false,"AuthInfo":""}}"#);
    assert!(CfCli::read_from(&missing).unwrap_err().to_string().contains("cf login"));
    let text =
        r#"{"Target":"https://a","UaaEndpoint":"https://u","AccessToken":"bearer x","CFOnK8s":{"Enabled":true}}"#;
    CfCli::read_from(&folder.write(text)).unwrap();
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
fn a_newer_token_of_the_cli_is_used_although_the_rejected_one_is_new() {
    let folder = Folder::new();
    let (first, third) = (fresh_jwt(), format!("bearer {}", fresh_jwt()));
    let uaa = ScriptedUaa::granting(fresh_jwt());
    let source = source(&folder.log_in(&uaa.url, &first, "refresh-1"));
    let replace = |token: &str| source.replace(token, "gone", &dialer(), &Cancel::new());
    let second = replace(&ask(&source, None).unwrap()).unwrap();
    replace(&second).unwrap_err();
    folder.log_in(&uaa.url, &third, "refresh-1");
    assert_eq!(replace(&second).unwrap(), third);
    assert_eq!(ask(&source, None).unwrap(), third);
    assert_eq!(replace(&third).unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(uaa.requests.len(), 1);
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
