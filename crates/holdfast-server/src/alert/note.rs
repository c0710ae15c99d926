//! What people are told, in words that fit any channel.

use holdfast_protocol::{JobId, message::job::Status};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    alert::{Severity, digest::Digest},
    verdict::moment,
    view::{AlertView, JobView},
};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DeliveryEvent)]
pub enum Event {
    /// An alert was opened.
    Opened,
    /// An alert is over.
    Resolved,
    /// A summary of the time since the last one.
    Digest,
    /// Somebody tries the channel.
    Test,
    /// A job began.
    JobStarted,
    /// A job ended.
    JobEnded,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    /// The delivery's id: the same at every try, so that a receiver can tell a repeat.
    pub(crate) id: Uuid,
    pub(crate) event: Event,
    pub(crate) severity: Severity,
    /// One line.
    pub(crate) title: String,
    /// A few lines more.
    pub(crate) text: String,
    pub(crate) at: Timestamp,
    pub(crate) alert: Option<AlertView>,
    pub(crate) job: Option<NotedJob>,
}

/// The job that a note is about.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NotedJob {
    pub(crate) id: JobId,
    pub(crate) host: String,
    pub(crate) group: String,
    pub(crate) status: Status,
}

impl Note {
    /// What is told of an alert.
    pub(crate) fn of_alert(id: Uuid, event: Event, alert: AlertView, at: Timestamp) -> Self {
        let over = event == Event::Resolved;
        let title = if over { format!("Resolved: {}", alert.title) } else { alert.title.clone() };
        let mut text = format!("{}\n", alert.cause);
        if !over && !alert.action.is_empty() {
            text.push_str(&format!("What to do: {}\n", alert.action));
        }
        text.push_str(&format!("Since {}", moment(alert.since)));
        if let Some(resolved) = alert.resolved_at.filter(|_| over) {
            text.push_str(&format!(", over since {}", moment(resolved)));
        }
        if alert.count > 1 {
            text.push_str(&format!(", {} times", alert.count));
        }
        text.push('.');
        let severity = if over { Severity::Info } else { alert.severity };
        Self { id, event, severity, title, text, at, alert: Some(alert), job: None }
    }

    /// What is told of a job.
    pub(crate) fn of_job(id: Uuid, event: Event, job: &JobView, at: Timestamp) -> Self {
        let what = format!("The backup of `{}` on {}", job.group, job.host_name);
        let status = job.status.as_str();
        let title = match event {
            Event::JobStarted => format!("{what} has begun."),
            _ => format!("{what} has ended: {status}."),
        };
        let error = job.error.as_ref();
        let text = error.map(|error| format!("{} {}", error.message, error.action));
        let noted = NotedJob {
            id: job.id,
            host: job.host_name.clone(),
            group: job.group.clone(),
            status: job.status,
        };
        Self {
            id,
            event,
            severity: Severity::Info,
            title,
            text: text.unwrap_or_default(),
            at,
            alert: None,
            job: Some(noted),
        }
    }

    /// What is told of the time since the last digest.
    pub(crate) fn of_digest(id: Uuid, digest: Digest, at: Timestamp) -> Self {
        Self {
            id,
            event: Event::Digest,
            severity: Severity::Info,
            title: digest.title,
            text: digest.text,
            at,
            alert: None,
            job: None,
        }
    }

    /// What is told when somebody tries a channel.
    pub(crate) fn test(id: Uuid, channel: &str, at: Timestamp) -> Self {
        Self {
            id,
            event: Event::Test,
            severity: Severity::Info,
            title: "This is a test of Holdfast's alerts.".to_owned(),
            text: format!("The channel `{channel}` works. Nothing needs to be done."),
            at,
            alert: None,
            job: None,
        }
    }

    /// Title and text in one.
    pub(crate) fn whole(&self) -> String {
        if self.text.is_empty() {
            return self.title.clone();
        }
        format!("{}\n\n{}", self.title, self.text)
    }
}

impl Event {
    const ALL: [Self; 6] =
        [Self::Opened, Self::Resolved, Self::Digest, Self::Test, Self::JobStarted, Self::JobEnded];

    /// The word in the API and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Resolved => "resolved",
            Self::Digest => "digest",
            Self::Test => "test",
            Self::JobStarted => "job_started",
            Self::JobEnded => "job_ended",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == word)
    }
}
