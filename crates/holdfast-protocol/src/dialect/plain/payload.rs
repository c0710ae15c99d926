//! The bodies of the envelope's core kinds. All other kinds are carried as they come.

use std::collections::BTreeMap;

use crate::{
    dialect::gojson::{GoTime, Raw, go_struct},
    message::config::Secret,
};

go_struct! {
    /// `<kind>.error`.
    pub struct ErrorBody {
        error: String,
    }

    /// `register`: a client's first frame.
    pub struct Register {
        /// Must equal the name its token belongs to.
        name: String,
        /// `global`, `thread` or `stateless`.
        context_mode: String,
        provider: String,
        port: u16,
        pid: i64,
        started_at: GoTime,
        model: String [omit],
        capabilities: Vec<String>,
        home: String,
        /// Chosen by the client: the same one takes its own older connection over.
        session_id: String,
        primary_surface: String [omit],
        metadata: Option<BTreeMap<String, Raw>> [omit],
        via_outpost: String [omit],
        since_msg_id: i64 [omit],
        request_replay: bool [omit],
        assertion: Secret [omit],
    }

    /// `register.ack`.
    pub struct RegisterAck {
        heartbeat_interval_s: i64,
        stale_after_s: i64,
        herald_subject: String [omit],
    }

    /// `deregister`; the answer has the same kind and no body.
    pub struct Deregister {
        name: String,
        session_id: String,
        reason: String [omit],
    }

    /// `outpost.register`.
    pub struct OutpostRegister {
        outpost_id: String,
        host: String,
        version: String,
        capabilities: Vec<String>,
        started_at: GoTime,
        metadata: Option<BTreeMap<String, Raw>> [omit],
    }

    /// `outpost.register.ack`.
    pub struct OutpostRegisterAck {
        heartbeat_interval_s: i64,
    }

    /// `outpost.deregister`.
    pub struct OutpostDeregister {
        outpost_id: String,
        reason: String [omit],
    }

    /// `shutdown`: the server ends the session.
    pub struct Shutdown {
        reason: String,
        grace_period_s: i64 [omit],
    }

    /// `session.refresh`.
    pub struct SessionRefresh {
        reason: String,
    }

    /// `session.refresh.result`.
    pub struct SessionRefreshResult {
        session_jwt: Secret,
        session_expires_at: String,
    }

    /// `dispatch`.
    pub struct Dispatch {
        aspect: String,
        thread: String [omit],
        dispatch_id: String [omit],
        payload: Raw,
    }

    /// `dispatch.result`.
    pub struct DispatchResult {
        aspect: String,
        thread: String [omit],
        dispatch_id: String [omit],
        output: Raw,
        tokens: Tokens,
        model: String [omit],
        error: String [omit],
    }

    /// What an answer cost.
    pub struct Tokens {
        input: i64,
        output: i64,
        total: i64,
    }

    /// `dispatch.error`: the one error with a body of its own.
    pub struct DispatchError {
        aspect: String [omit],
        dispatch_id: String [omit],
        reason: String,
        /// `queue_full`, `hard_ceiling`, `identity_mismatch`, `no_dispatcher`, `bad_request`,
        /// `shutdown` or `queue_error`.
        code: String,
        active: i64 [omit],
        soft_cap: i64 [omit],
        limit: i64 [omit],
    }

    /// `dispatch.status`: `accepted` or `failed`.
    pub struct DispatchStatus {
        run_id: String,
        status: String,
        reason: String [omit],
        /// Written even when unknown.
        at: GoTime,
    }

    /// `worker.status`: about every minute.
    pub struct WorkerStatus {
        agent: String,
        role: String [omit],
        personality: String [omit],
        work_item_id: String [omit],
        /// `spawning`, `running`, `blocked`, `awaiting_gate`, `done` or `failed`.
        state: String,
        auth_ok: bool,
        token_expires_at: GoTime,
        provider: String [omit],
        model: String [omit],
        cli_version: String [omit],
        image_tag: String [omit],
        last_heartbeat: GoTime,
        started_at: GoTime,
        turns: i64 [omit],
        tokens_used: i64 [omit],
    }

    /// `turn`.
    pub struct Turn {
        prompt: String,
        system_prompt: String [omit],
        model: String [omit],
        thinking_level: String [omit],
        max_tokens: i64 [omit],
    }

    /// `turn.result`.
    pub struct TurnResult {
        output: String,
        stop_reason: String,
        tokens: Raw,
        entry_ids: Vec<String>,
    }

    /// `credential.fetch`.
    pub struct CredentialFetch {
        kind: String,
        name: String [omit],
    }

    /// `credential.fetch.result`. The bundle's `Debug` shows its size only.
    pub struct CredentialFetchResult {
        name: String,
        kind: String,
        bundle: Raw,
        expires_at: String [omit],
    }

    /// `cwb.request`: HTTP over the socket; the body is base64.
    pub struct RelayRequest {
        pillar: String,
        method: String,
        path: String,
        body: String [omit],
    }

    /// `cwb.response`.
    pub struct RelayResponse {
        status: i64,
        body: String [omit],
    }

    /// `run.cancel`.
    pub struct RunCancel {
        run_id: String,
        force: bool [omit],
    }

    /// `run.cancel.result`.
    pub struct RunCancelResult {
        ok: bool,
        message: String [omit],
    }
}

impl Register {
    /// The first required field that is empty, by name.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        let required = [
            ("name", &self.name),
            ("session_id", &self.session_id),
            ("context_mode", &self.context_mode),
            ("provider", &self.provider),
        ];
        required.into_iter().find(|(_, value)| value.is_empty()).map(|(name, _)| name)
    }
}
