//! The kinds of server: what to ask, and how to read the answer.

use lowtide_sdk::http::{self, RequestBuilder};
use serde_json::Value;

/// A kind of media server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Server {
    Jellyfin,
    Emby,
    Plex,
}

/// Something that is played.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stream {
    /// Name of the program that plays it.
    pub(crate) client: String,
    /// Name of the device that it runs on.
    pub(crate) device: String,
    pub(crate) paused: bool,
    /// The server converts it, which takes a lot of it.
    pub(crate) transcoding: bool,
}

impl Server {
    /// By the word of the setting `kind`.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        match name {
            "jellyfin" => Some(Self::Jellyfin),
            "emby" => Some(Self::Emby),
            "plex" => Some(Self::Plex),
            _ => None,
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jellyfin => "Jellyfin",
            Self::Emby => "Emby",
            Self::Plex => "Plex",
        }
    }

    /// The request for the sessions.
    pub(crate) fn request(self, url: &str, token: &str) -> RequestBuilder {
        let url = url.trim_end_matches('/');
        let request = match self {
            Self::Jellyfin => http::get(format!("{url}/Sessions"))
                .header("authorization", format!("MediaBrowser Token=\"{token}\"")),
            Self::Emby => http::get(format!("{url}/Sessions")).header("x-emby-token", token),
            Self::Plex => http::get(format!("{url}/status/sessions")).header("x-plex-token", token),
        };
        request.header("accept", "application/json")
    }

    /// Reads the answer to [`Server::request`].
    ///
    /// # Errors
    /// In words, when it is not what such a server answers.
    #[expect(clippy::indexing_slicing, reason = "a JSON value gives null for what is not there")]
    pub(crate) fn streams(self, body: &str) -> Result<Vec<Stream>, String> {
        let answer: Value = serde_json::from_str(body).map_err(|error| format!("not JSON: {error}"))?;
        match self {
            Self::Jellyfin | Self::Emby => {
                let sessions = answer.as_array().ok_or("not a list of sessions")?;
                let playing = sessions.iter().filter(|session| session["NowPlayingItem"].is_object());
                Ok(playing.map(of_jellyfin).collect())
            }
            Self::Plex => {
                let container = answer["MediaContainer"].as_object().ok_or("there is no MediaContainer")?;
                let playing = container.get("Metadata").and_then(Value::as_array);
                Ok(playing.map(Vec::as_slice).unwrap_or_default().iter().map(of_plex).collect())
            }
        }
    }
}

fn of_jellyfin(session: &Value) -> Stream {
    let state = &session["PlayState"];
    Stream {
        client: text(&session["Client"]),
        device: text(&session["DeviceName"]),
        paused: state["IsPaused"] == true,
        transcoding: state["PlayMethod"] == "Transcode",
    }
}

fn of_plex(item: &Value) -> Stream {
    let player = &item["Player"];
    let transcode = &item["TranscodeSession"];
    Stream {
        client: text(&player["product"]),
        device: text(&player["title"]),
        paused: player["state"] == "paused",
        transcoding: transcode["videoDecision"] == "transcode" || transcode["audioDecision"] == "transcode",
    }
}

/// A text of the server, short enough to show.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or("unknown").chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(client: &str, device: &str, paused: bool, transcoding: bool) -> Stream {
        Stream { client: client.to_owned(), device: device.to_owned(), paused, transcoding }
    }

    #[test]
    fn sessions_are_read() {
        let jellyfin = r#"[
            {"Client": "Jellyfin Web", "DeviceName": "Firefox", "UserName": "anna", "PlayState": {"IsPaused": false}},
            {"Client": "Android TV", "DeviceName": "Shield", "UserName": "ben", "NowPlayingItem": {"Name": "M"},
             "PlayState": {"IsPaused": true, "PlayMethod": "Transcode"}},
            {"NowPlayingItem": {}, "PlayState": {"PlayMethod": "DirectPlay"}}
        ]"#;
        let plex = r#"{"MediaContainer": {"size": 2, "Metadata": [
            {"title": "M", "User": {"title": "anna"}, "Player": {"product": "Plex Web", "title": "Chrome", "state": "playing"},
             "TranscodeSession": {"videoDecision": "transcode", "audioDecision": "copy"}},
            {"Player": {"product": "Plexamp", "title": "Phone", "state": "paused"}}
        ]}}"#;
        for (server, body, wanted) in [
            (
                Server::Jellyfin,
                jellyfin,
                vec![stream("Android TV", "Shield", true, true), stream("unknown", "unknown", false, false)],
            ),
            (Server::Emby, "[]", vec![]),
            (
                Server::Plex,
                plex,
                vec![stream("Plex Web", "Chrome", false, true), stream("Plexamp", "Phone", true, false)],
            ),
            (Server::Plex, r#"{"MediaContainer": {"size": 0}}"#, vec![]),
        ] {
            assert_eq!(server.streams(body).unwrap(), wanted, "{server:?}");
        }
    }

    #[test]
    fn other_answers_are_told() {
        for (server, body, wanted) in [
            (Server::Jellyfin, "<html>", "not JSON: expected value at line 1 column 1"),
            (Server::Jellyfin, "{}", "not a list of sessions"),
            (Server::Plex, "[]", "there is no MediaContainer"),
        ] {
            assert_eq!(server.streams(body).unwrap_err(), wanted);
        }
    }

    #[test]
    fn each_kind_has_a_name() {
        for name in ["jellyfin", "emby", "plex"] {
            assert_eq!(Server::by_name(name).unwrap().name().to_lowercase(), name);
        }
        assert_eq!(Server::by_name("kodi"), None);
    }
}
