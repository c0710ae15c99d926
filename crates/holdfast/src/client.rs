//! The REST API, as a client sees it.

mod stream;

use std::time::Duration;

use holdfast_protocol::message::config::Secret;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use url::{Host, Url};

use crate::failure::{Failure, chain};

/// How long a connection may take to open. Short: a person is looking at the terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take altogether.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Speaks to one server with one token.
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    token: Secret,
}

/// Why a request had no useful answer.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// There was no answer.
    Unreachable {
        /// The server's address.
        server: Url,
        /// What the network said.
        cause: String,
    },
    /// The server answered with a problem document.
    Problem(Problem),
    /// Something answered that does not speak this API.
    Strange {
        /// The server's address.
        server: Url,
        /// What it answered.
        status: StatusCode,
    },
}

/// The API's errors, after RFC 9457.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Stable and snake_case.
    pub(crate) code: String,
    /// What is wrong, in one sentence.
    pub(crate) title: String,
    /// What to do about it.
    pub(crate) action: String,
}

/// As many as the server gives at once.
const HOSTS_PER_PAGE: &str = "500";

impl Client {
    /// A client for the server at `server`.
    pub(crate) fn new(server: Url, token: Secret) -> Result<Self, Failure> {
        if !matches!(server.scheme(), "http" | "https") || server.cannot_be_a_base() {
            return Err(Failure::new(
                format!("`{server}` is not an HTTP address."),
                "Give the server's address as http://HOST:PORT or https://HOST.",
            ));
        }
        let http = http(&server).map_err(|error| {
            Failure::new(format!("No HTTP client: {}.", chain(&error)), "Check the TLS settings.")
        })?;
        Ok(Self { http, server, token })
    }

    /// The server's address as the user gave it.
    pub(crate) fn server(&self) -> &Url {
        &self.server
    }

    /// `GET`.
    pub(crate) async fn fetch(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, ApiError> {
        self.ask(Method::GET, path, query, None).await
    }

    /// All hosts by name, page after page, as one answer.
    pub(crate) async fn fetch_hosts(&self) -> Result<Value, ApiError> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let limit = ("limit", HOSTS_PER_PAGE);
            let query: Vec<_> =
                [limit].into_iter().chain(after.as_deref().map(|name| ("after", name))).collect();
            let mut page = self.fetch(&["hosts"], &query).await?;
            if let Some(hosts) = page["hosts"].as_array_mut() {
                all.append(hosts);
            }
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() {
                return Ok(json!({ "hosts": all }));
            }
        }
    }

    /// `POST`.
    pub(crate) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, ApiError> {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    /// `PUT`.
    pub(crate) async fn put(&self, path: &[&str], body: &Value) -> Result<Value, ApiError> {
        self.ask(Method::PUT, path, &[], Some(body)).await
    }

    /// `PATCH`.
    pub(crate) async fn patch(&self, path: &[&str], body: &Value) -> Result<Value, ApiError> {
        self.ask(Method::PATCH, path, &[], Some(body)).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<Value, ApiError> {
        self.ask(Method::DELETE, path, &[], None).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let mut request = self
            .http
            .request(method, endpoint(&self.server, path, query))
            .bearer_auth(self.token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        self.read(response).await
    }

    async fn read(&self, response: reqwest::Response) -> Result<Value, ApiError> {
        let status = response.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(error))?;
        let strange = || ApiError::Strange { server: self.server.clone(), status };
        let value: Value = serde_json::from_slice(&body).map_err(|_| strange())?;
        if status.is_success() {
            return Ok(value);
        }
        match parse::<Problem>(&value) {
            Some(problem) if !problem.code.is_empty() => Err(ApiError::Problem(problem)),
            _ => Err(strange()),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> ApiError {
        // The address is in the sentence already; without this it would be told twice.
        let error = error.without_url();
        let cause =
            if error.is_timeout() { "no answer in time".to_owned() } else { innermost(&error) };
        ApiError::Unreachable { server: self.server.clone(), cause }
    }
}

impl ApiError {
    /// The stable code, when the server gave one.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            Self::Unreachable { .. } | Self::Strange { .. } => None,
        }
    }

    /// Whether the same request may well succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => problem.status >= 500,
            Self::Strange { status, .. } => status.is_server_error(),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Unreachable { server, cause } => Self::new(
                format!("The server at {server} cannot be reached: {cause}."),
                "Check that `holdfast server` runs there, or name it with --url or HOLDFAST_URL.",
            ),
            ApiError::Problem(problem) if problem.status == 401 => Self::new(
                problem.title,
                "Set HOLDFAST_TOKEN, or use --token-file; `holdfast token create` makes a token.",
            ),
            ApiError::Problem(problem) => Self::new(problem.title, problem.action),
            ApiError::Strange { server, status } => Self::new(
                format!("{server} answered {status}, and not as a Holdfast server does."),
                "Check the address given with --url or HOLDFAST_URL.",
            ),
        }
    }
}

/// `value` as a `T`.
pub(crate) fn parse<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn http(server: &Url) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        // A redirect would carry the token to a place nobody named.
        .redirect(reqwest::redirect::Policy::none());
    // A proxy from the environment cannot reach this machine's own loopback.
    if is_loopback(server) { builder.no_proxy().build() } else { builder.build() }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The address of `path` under the server's `/api/v1`; each segment is escaped.
fn endpoint(server: &Url, path: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = server.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["api", "v1"]);
        for segment in path {
            // `.` and `..` would be dropped and lead to another resource; no name looks like this.
            let safe = if matches!(*segment, "" | "." | "..") { "%" } else { *segment };
            segments.push(safe);
        }
    }
    url.set_query(None);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// The last cause in the chain; it is the one that says "connection refused".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    // "Connection refused (os error 111)": the number tells people nothing.
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn names_are_escaped_and_prefixes_kept() {
        let server = url("https://backup.example/fleet/");
        let path = endpoint(&server, &["hosts", "a/b?c", "groups"], &[]);
        assert_eq!(path.as_str(), "https://backup.example/fleet/api/v1/hosts/a%2Fb%3Fc/groups");
        let jobs = endpoint(&server, &["jobs"], &[("host", "a&b")]);
        assert!(jobs.as_str().ends_with("/fleet/api/v1/jobs?host=a%26b"), "{jobs}");
    }

    #[test]
    fn a_dotted_name_never_climbs_to_another_resource() {
        let path = endpoint(&url("http://h"), &["hosts", "..", "groups"], &[]);
        assert_eq!(path.path(), "/api/v1/hosts/%25/groups");
    }

    #[test]
    fn only_this_machine_is_asked_without_a_proxy() {
        for near in ["http://localhost:1", "http://127.0.0.1", "http://[::1]:8080"] {
            assert!(is_loopback(&url(near)), "{near}");
        }
        assert!(!is_loopback(&url("https://backup.example")));
    }

    #[tokio::test]
    async fn an_unreachable_server_is_one_clear_sentence() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = url(&format!("http://{}", listener.local_addr().unwrap()));
        drop(listener);
        let client = Client::new(server.clone(), Secret::new("canary")).unwrap();
        let error = client.fetch(&["hosts"], &[]).await.unwrap_err();
        assert!(error.is_passing());
        let text = Failure::from(error).to_string();
        let wanted =
            format!("error: The server at {server} cannot be reached: connection refused.");
        assert!(text.starts_with(&wanted), "{text}");
        assert!(text.contains("what to do: "), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[tokio::test]
    async fn all_pages_of_hosts_are_one_list() {
        use std::io::{Read as _, Write as _};

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = url(&format!("http://{}", listener.local_addr().unwrap()));
        let pages = [
            ("/api/v1/hosts?limit=500", r#"{"hosts":["a","b"],"total":3,"next":"b"}"#),
            ("/api/v1/hosts?limit=500&after=b", r#"{"hosts":["c"],"total":3}"#),
        ];
        let serving = std::thread::spawn(move || {
            for (wanted, body) in pages {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let count = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..count]).into_owned();
                assert!(request.starts_with(&format!("GET {wanted} ")), "{request}");
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
                let length = body.len();
                write!(
                    stream,
                    "{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        let client = Client::new(server, Secret::new("t")).unwrap();
        assert_eq!(client.fetch_hosts().await.unwrap(), json!({"hosts": ["a", "b", "c"]}));
        serving.join().unwrap();
    }

    #[test]
    fn an_address_that_is_not_http_is_refused() {
        let client = Client::new(url("ftp://h"), Secret::new("t"));
        assert!(client.err().unwrap().to_string().contains("is not an HTTP address"));
    }

    #[test]
    fn a_problem_keeps_the_servers_words() {
        let problem = Problem {
            status: 404,
            code: "host_not_found".into(),
            title: "There is no host `web`.".into(),
            action: "List them with `holdfast hosts`.".into(),
        };
        let text = Failure::from(ApiError::Problem(problem)).to_string();
        assert!(text.contains("There is no host `web`.\n  what to do: List them"), "{text}");
    }
}
