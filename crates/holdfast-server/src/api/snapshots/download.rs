//! Files of a snapshot on their way to somebody, through the host's agent.

mod source;
mod words;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use holdfast_protocol::message::{
    browse,
    job::Operation,
    parameters::{Dump, Stat},
    result::{Entry, EntryKind},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    source::Source,
    words::{disposition, entity_tag, range},
};
use super::{
    super::{
        AppState,
        extract::{Params, Segments},
        parameters,
        problem::{Problem, ProblemBody},
        validate::shown,
    },
    place::{Place, WAIT_EACH, no_answer},
};
use crate::{
    auth::{Access, Principal, Role},
    openapi,
};

/// What to download.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Name or id of the repository. Absent for the one that holds the snapshot.
    repository: Option<String>,
    /// The file or directory, absolute; a directory comes as a tar archive.
    path: String,
}

/// What is being downloaded.
struct Wanted {
    snapshot: String,
    path: String,
    /// Of a file; nobody knows how long an archive will be.
    size: Option<u64>,
}

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(openapi::routes(Access::Role(Role::Operator), routes!(download)))
}

/// Downloads a file of a snapshot, or a directory as a tar archive, through the host's agent.
///
/// A file can be asked for from the middle (`Range: bytes=N-`). A download that cannot be finished
/// breaks off: what came whole has the length that was announced, or a proper last chunk.
#[utoipa::path(get, path = "/hosts/{host}/snapshots/{snapshot}/download", tag = "snapshots",
    operation_id = "download_file",
    params(("host" = String, Path, description = "Name or id"),
        ("snapshot" = String, Path, description = "The snapshot's id, or its beginning"), Which,
        ("Range" = Option<String>, Header, description = "`bytes=N-` for what comes after N bytes")),
    responses((status = 200, description = "The bytes", content_type = "application/octet-stream"),
        (status = 206, description = "The bytes from the middle on",
            content_type = "application/octet-stream"),
        (status = 400, body = ProblemBody,
            description = "`invalid_parameters` or `repository_required`"),
        (status = 403, body = ProblemBody, description = "`refused_by_policy`"),
        (status = 404, body = ProblemBody,
            description = "`host_not_found`, `snapshot_not_found` or `path_not_found`"),
        (status = 409, body = ProblemBody,
            description = "`host_offline`, `operation_unsupported`, `repository_unknown` or \
                `not_a_file`"),
        (status = 416, body = ProblemBody, description = "`range_not_satisfiable`"),
        (status = 429, body = ProblemBody, description = "`host_busy`"),
        (status = 502, body = ProblemBody, description = "`host_failed`"),
        (status = 504, body = ProblemBody, description = "`host_silent`")))]
async fn download(
    State(state): State<AppState>,
    principal: Principal,
    Segments((host, mut snapshot)): Segments<(String, String)>,
    Params(which): Params<Which>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    parameters::snapshot(&snapshot)?;
    parameters::absolute(&which.path)?;
    let repository = which.repository.as_deref();
    let place = Place::find(&state, &principal, &host, [&mut snapshot], repository).await?;
    let path = trimmed(&which.path);
    let size = size_of(&state, place, &snapshot, &path).await?;
    let wanted = Wanted { snapshot, path, size };
    let start = wanted.start(&headers)?;
    state.store.note_download(&principal.name, place.host, &wanted.snapshot, &wanted.path).await?;
    let wish = Dump {
        snapshot_id: wanted.snapshot.clone(),
        path: wanted.path.clone(),
        offset_bytes: start,
    };
    let source = Source::new(state.hub.clone(), state.stop.clone(), place, wish);
    // The first piece tells whether there will be any; a problem can still be told now.
    let bytes = source.begin().await.map_err(no_answer)?;
    Ok(wanted.answer(start, Body::from_stream(bytes)))
}

impl Wanted {
    /// Where to begin.
    fn start(&self, headers: &HeaderMap) -> Result<u64, Problem> {
        // An archive has no known length, so it begins anew.
        let Some(size) = self.size else { return Ok(0) };
        match range(headers, &entity_tag(&self.snapshot, &self.path)) {
            Some(start) if start >= size && start > 0 => Err(beyond(size)),
            Some(start) => Ok(start),
            None => Ok(0),
        }
    }

    fn answer(&self, start: u64, body: Body) -> Response {
        let status = if start > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        for (name, value) in self.headers(start) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }

    fn headers(&self, start: u64) -> Vec<(HeaderName, String)> {
        let mut headers = vec![
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (header::CONTENT_DISPOSITION, disposition(&self.path, self.size.is_none())),
        ];
        let Some(size) = self.size else { return headers };
        headers.push((header::ACCEPT_RANGES, "bytes".to_owned()));
        headers.push((header::ETAG, entity_tag(&self.snapshot, &self.path)));
        headers.push((header::CONTENT_LENGTH, (size - start).to_string()));
        if start > 0 {
            headers.push((header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", size - 1)));
        }
        headers
    }
}

/// The length of the file at `path`; `None` for a directory.
async fn size_of(
    state: &AppState,
    place: Place,
    snapshot: &str,
    path: &str,
) -> Result<Option<u64>, Problem> {
    if path == "/" {
        state.hub.require_sight(place.host, Operation::Dump).await?;
        return Ok(None);
    }
    let wish = Stat { snapshot_id: snapshot.to_owned(), path: path.to_owned() };
    let entry: Entry =
        place.ask(&state.hub, (browse::STAT, Operation::Dump), wish, WAIT_EACH).await?;
    match entry.kind {
        EntryKind::File => Ok(Some(entry.size_bytes.unwrap_or(0))),
        EntryKind::Directory => Ok(None),
        EntryKind::Symlink | EntryKind::Other => Err(not_a_file(path)),
    }
}

fn not_a_file(path: &str) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "not_a_file",
        format!("`{}` is neither a file nor a directory.", shown(path)),
        "Download what a link leads to, or the directory it is in.",
    )
}

fn beyond(size: u64) -> Problem {
    Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range_not_satisfiable",
        format!("The file has {size} bytes only."),
        "Compare the length with what you have: it may be whole.",
    )
}

fn trimmed(path: &str) -> String {
    let clean = path.trim_end_matches('/');
    if clean.is_empty() { "/".to_owned() } else { clean.to_owned() }
}
