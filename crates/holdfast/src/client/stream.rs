//! An answer that is a file: taken as it comes.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header};

use super::{ApiError, Client, endpoint};

/// How long nothing may come. The server itself waits this long for a host that was lost.
const SILENCE_MAX: Duration = Duration::from_secs(330);

/// How long a download may take altogether.
const DOWNLOAD_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A file on its way.
pub(crate) struct Coming {
    response: Response,
    server: url::Url,
    /// How many bytes were passed over.
    start: u64,
    archive: bool,
}

impl Client {
    /// `GET` of a file from `start` on, or, where the server cannot do that, of all of it.
    pub(crate) async fn open(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        start: u64,
    ) -> Result<Coming, ApiError> {
        let mut request = self
            .http
            .request(Method::GET, endpoint(&self.server, path, query))
            .bearer_auth(self.token.expose())
            .timeout(DOWNLOAD_MAX);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => start,
            status => {
                let strange = ApiError::Strange { server: self.server.clone(), status };
                return Err(self.read(response).await.err().unwrap_or(strange));
            }
        };
        // Only an archive comes without the length that it will have.
        let archive = !response.headers().contains_key(header::CONTENT_LENGTH);
        Ok(Coming { response, server: self.server.clone(), start, archive })
    }
}

impl Coming {
    /// How many bytes of the file were passed over.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Whether it is a directory's archive.
    pub(crate) fn is_archive(&self) -> bool {
        self.archive
    }

    /// What comes next; `None` when all has come.
    ///
    /// # Errors
    /// [`ApiError::Unreachable`] when it broke off.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        let cause = match tokio::time::timeout(SILENCE_MAX, self.response.chunk()).await {
            Ok(Ok(bytes)) => return Ok(bytes.map(|bytes| bytes.to_vec())),
            Ok(Err(_)) => "the download broke off",
            Err(_) => "nothing came any more",
        };
        Err(ApiError::Unreachable { server: self.server.clone(), cause: cause.to_owned() })
    }
}
