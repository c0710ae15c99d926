//! A canary in every field that takes a secret. While jobs run, and after, it is looked for where
//! it does not belong: arguments, environments, logs, answers, the database, the agent's files,
//! frames.

mod sampler;
mod totp;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use holdfast_e2e::api::Api;
use holdfast_e2e::data;
use holdfast_e2e::fleet::Agent;
use holdfast_e2e::programs::{self, Programs};
use holdfast_e2e::rest_server::{RestServer, User};
use holdfast_e2e::stage::{BACKUP_LIMIT, GROUP, HOST, Stage};
use holdfast_e2e::wiretap::{self, Wiretap};
use serde_json::{Value, json};

use sampler::{Sampler, forms};

/// A host beside the one that keeps the repository in order; it may not delete.
const OTHER: &str = "db-2";

/// Secrets that restic on both hosts needs, and the host's configuration therefore carries.
const REPOSITORY: &str = "canary-repository-password-a1";
const IN_URL: &str = "canary-url-password-b2";
const IN_ENVIRONMENT: &str = "canary-environment-c3";
/// Those of the admin slot, which only the host gets that keeps the repository in order.
const ADMIN: [&str; 2] = ["canary-admin-url-d4", "canary-admin-environment-e5"];
/// The password of a repository that is not its password.
const WRONG: &str = "canary-wrong-password-l2";
/// What each host needs, and may therefore be told with its configuration.
const CONFIGURED: [(&str, &[&str]); 2] = [
    (HOST, &[REPOSITORY, IN_URL, IN_ENVIRONMENT, ADMIN[0], ADMIN[1], WRONG]),
    (OTHER, &[REPOSITORY, IN_URL]),
];
/// Those that never leave the server.
const KEPT: [&str; 6] = [
    "canary-user-password-f6",
    "canary-mail-password-g7",
    "canary-webhook-url-h8",
    "canary-webhook-secret-i9",
    "canary-slack-url-j0",
    "canary-telegram-token-k1",
];
/// Those that only turn up in refused requests.
const REFUSED: [&str; 3] =
    ["canary-refused-url-m3", "canary-refused-variable-n4", "canary-refused-cli-o5"];

const EVERYDAY: User =
    User { name: "everyday", password: IN_URL, sha1: "F41CsuSlQh4ay5PTJQY5xIg59ew=" };
const KEEPER: User =
    User { name: "keeper", password: ADMIN[0], sha1: "fNVGxRM3GdHMqq/hHpLKxUxWuR0=" };
const CLERK: User =
    User { name: "clerk", password: IN_ENVIRONMENT, sha1: "K+Z7/AtM1kRf3nguWcsePsxstSs=" };

#[test]
fn secrets_are_nowhere_but_where_they_are_used() -> Result<()> {
    let Some(house) = House::new()? else { return Ok(()) };
    let mut secrets: Vec<String> =
        [REPOSITORY, IN_URL, IN_ENVIRONMENT, WRONG].map(str::to_owned).into();
    secrets.extend(ADMIN.iter().chain(&KEPT).chain(&REFUSED).map(|text| (*text).to_owned()));
    secrets.extend(house.minted.iter().cloned());

    let sampler = Sampler::start(&secrets);
    house.work()?;
    house.provoke()?;
    let seen = sampler.stop();
    ensure!(seen.looks > 20, "only {} looks at the processes", seen.looks);
    // The one place: restic takes a backend's credentials from its environment.
    let allowed = |hit: &&sampler::Hit| {
        let backend = [IN_ENVIRONMENT, ADMIN[1]].contains(&hit.secret.as_str());
        backend && hit.part == "environ" && hit.process.contains("restic")
    };
    let wrong: Vec<_> = seen.hits.iter().filter(|hit| !allowed(hit)).collect();
    ensure!(wrong.is_empty(), "in processes: {wrong:?}");
    ensure!(seen.hits.iter().any(|hit| allowed(&hit)), "the sampler would have seen nothing");

    house.frames(&secrets)?;
    house.answers(&secrets)?;
    house.files(&secrets)
}

struct House {
    stage: Stage,
    /// The hosts, and somebody on the line of each.
    lines: Vec<(Agent, Wiretap)>,
    servers: Vec<RestServer>,
    /// Secrets that the server made up: an API token, an enrolment token, a second factor.
    minted: Vec<String>,
}

impl House {
    fn new() -> Result<Option<Self>> {
        let restic = programs::restics()?.pop().context("there is no restic")?;
        let stage = Stage::with_restic(&restic)?;
        let folder = stage.path().join("served");
        let mut servers = Vec::new();
        for (user, append_only) in [(EVERYDAY, true), (KEEPER, false)] {
            let Some(server) = RestServer::start(&folder, user, append_only)? else {
                return Ok(None);
            };
            servers.push(server);
        }
        let beside = stage.path().join("beside");
        let Some(clerk) = RestServer::start(&beside, CLERK, true)? else { return Ok(None) };
        servers.push(clerk);

        let mut house = Self { stage, lines: Vec::new(), servers, minted: Vec::new() };
        for host in [HOST, OTHER] {
            house.add_host(host, &restic)?;
        }
        house.plant()?;
        Ok(Some(house))
    }

    fn add_host(&mut self, host: &str, restic: &Path) -> Result<()> {
        let fleet = &self.stage.fleet;
        let tap = Wiretap::start(fleet.server.url())?;
        let token = fleet.operator.text(&["host", "add", host], "enrolment_token")?;
        let programs = Programs::beside_this_test()?;
        let mut agent = Agent::new(&programs.agent, restic, self.stage.path(), host)?;
        agent.enrol(tap.url(), &token)?;
        agent.start()?;
        fleet.operator.await_host(host, "online", BACKUP_LIMIT)?;
        self.minted.push(token);
        self.lines.push((agent, tap));
        Ok(())
    }

    fn api(&self) -> Api {
        self.stage.fleet.operator.api()
    }

    fn plant(&mut self) -> Result<()> {
        let api = self.api();
        let [everyday, keeper, clerk] = [0, 1, 2].map(|index| &self.servers[index]);
        let main =
            json!({"name": "main", "url": everyday.location("main"), "password": REPOSITORY});
        api.post("/repositories", &main)?;
        let names =
            json!({"RESTIC_REST_USERNAME": CLERK.name, "RESTIC_REST_PASSWORD": CLERK.password});
        let second = json!({"name": "second", "url": clerk.bare_location("second"),
            "password": REPOSITORY, "environment": names});
        api.post("/repositories", &second)?;
        let admin = json!({"url": keeper.location("main"),
            "environment": {"RESTIC_REST_PASSWORD": ADMIN[1]}});
        api.put("/repositories/main/credentials/admin", &admin)?;
        api.put("/repositories/main/runner", &json!({"host": HOST}))?;
        let wrong = json!({"name": "wrong", "url": everyday.location("main"), "password": WRONG});
        api.post("/repositories", &wrong)?;

        let source = self.stage.path().join("stands-in-clear");
        fs::create_dir(&source)?;
        data::small_files(&source, 40, 3)?;
        for (host, group, repository) in [
            (HOST, GROUP, "main"),
            (OTHER, GROUP, "main"),
            (HOST, "second", "second"),
            (HOST, "wrong", "wrong"),
        ] {
            self.stage.fleet.add_group_in(repository, host, group, &[&source], &[])?;
        }
        self.plant_people(&api)?;
        plant_channels(&api)
    }

    fn plant_people(&mut self, api: &Api) -> Result<()> {
        let user = json!({"name": "ada", "role": "admin", "password": KEPT[0]});
        api.post("/users", &user)?;
        let token = api.post("/tokens", &json!({"name": "script", "role": "viewer"}))?;
        let token = token["token"].as_str().context("no token")?.to_owned();
        Api::new(self.stage.fleet.server.url(), Some(&token)).get("/me")?;
        self.minted.push(token);

        let page = Api::new(self.stage.fleet.server.url(), None);
        let origin = ("origin", self.stage.fleet.server.url());
        let person = json!({"name": "ada", "password": KEPT[0]});
        let signed = page.ask_with("POST", "/api/v1/sign-in", Some(&person), &[origin])?;
        ensure!(signed.status == 200 || signed.status == 204, "{signed:?}");
        let cookie = signed.header("set-cookie").context("no cookie")?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let proof = json!({"password": KEPT[0]});
        let headers = [origin, ("cookie", cookie.as_str())];
        let offer = page.ask_with("POST", "/api/v1/me/totp", Some(&proof), &headers)?.json()?;
        let secret = offer["secret"].as_str().with_context(|| format!("no secret: {offer}"))?;
        let code = json!({"code": totp::code(secret)?});
        let path = "/api/v1/me/totp/confirm";
        let confirmed = page.ask_with("POST", path, Some(&code), &headers)?;
        ensure!(confirmed.status == 204, "the second factor is not in force: {confirmed:?}");
        self.minted.push(secret.to_owned());
        let (_, sign_in) = cookie.split_once('=').context("an empty cookie")?;
        self.minted.push(sign_in.to_owned());
        Ok(())
    }

    fn work(&self) -> Result<()> {
        for (host, group) in [(HOST, GROUP), (OTHER, GROUP), (HOST, "second")] {
            let order = json!({"operation": "backup", "group": group});
            self.ends(host, &order, "succeeded")?;
        }
        for order in [
            json!({"operation": "forget", "repository": "main",
                "parameters": {"which": {"policy": {"keep": {"keep_last": 1}}}}}),
            json!({"operation": "prune", "repository": "main"}),
            json!({"operation": "check", "repository": "main"}),
        ] {
            self.ends(HOST, &order, "succeeded")?;
        }
        Ok(())
    }

    /// Errors, whose texts are what people copy into tickets.
    fn provoke(&self) -> Result<()> {
        self.ends(HOST, &json!({"operation": "backup", "group": "wrong"}), "failed")?;
        let api = self.api();
        let url = format!("ftp://u:{}@x/", REFUSED[0]);
        for (path, body) in [
            ("/repositories", json!({"name": "x", "url": url, "password": "x"})),
            (
                "/repositories",
                json!({"name": "x", "url": "/x", "password": "x",
                "environment": {"LD_PRELOAD": REFUSED[1]}}),
            ),
            ("/repositories", json!({"name": "x", "url": "/x", "password": [REFUSED[1]]})),
            ("/sign-in", json!({"name": "ada", "password": REFUSED[1]})),
            ("/sign-in", json!({"token": REFUSED[1]})),
            ("/channels", json!({"name": "x", "settings": {"kind": "webhook", "url": REFUSED[1]}})),
        ] {
            let answer = api.ask("POST", &format!("/api/v1{path}"), Some(&body))?;
            ensure!(answer.status >= 400, "{path} took {body}");
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            ensure!(!REFUSED.iter().any(|secret| text.contains(secret)), "{path}: {text}");
        }
        let url = format!("rest:http://u:{}@127.0.0.1:9/", REFUSED[2]);
        let file = self.stage.path().join("url");
        fs::write(&file, &url)?;
        let file = file.to_str().context("not text")?;
        let add = ["repo", "add", "a b", "--url-file", file, "--password-file", file];
        let said = self.stage.fleet.operator.command(&add)?;
        let text = [said.stdout, said.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        ensure!(!said.status.success() && !text.contains(REFUSED[2]), "{text}");
        Ok(())
    }

    fn ends(&self, host: &str, order: &Value, status: &str) -> Result<()> {
        let end = self.stage.fleet.operator.ordered(host, order, BACKUP_LIMIT)?;
        ensure!(end["status"] == status, "{order}: {end}");
        Ok(())
    }

    /// What passed between the server and each of the hosts.
    fn frames(&self, secrets: &[String]) -> Result<()> {
        for (agent, tap) in &self.lines {
            let configured = CONFIGURED.iter().find(|(host, _)| *host == agent.name());
            let (host, configured) = configured.context("a host that was not planted")?;
            frames_of(host, tap, configured, secrets)?;
        }
        Ok(())
    }

    /// Everything that can be read over the API.
    fn answers(&self, secrets: &[String]) -> Result<()> {
        let api = self.api();
        let mut good = 0;
        for path in self.readable(&api)? {
            let answer = api.ask("GET", &path, None)?;
            let hits = found(secrets, &answer.body);
            ensure!(hits.is_empty(), "GET {path} tells {hits:?}");
            good += usize::from(answer.status == 200);
        }
        ensure!(good >= 25, "only {good} routes answered");
        Ok(())
    }

    /// The paths of all documented `GET` routes, with what there is in the place of parameters.
    fn readable(&self, api: &Api) -> Result<Vec<String>> {
        let document = api.get("/openapi.json")?;
        let ids = |path: &str, list: &str, field: &str| -> Result<Vec<String>> {
            let answer = api.get(path)?;
            let list = answer[list].as_array().cloned().unwrap_or_default();
            Ok(list.iter().filter_map(|it| it[field].as_str().map(str::to_owned)).collect())
        };
        let known = [
            ("{host}", vec![HOST.to_owned(), OTHER.to_owned()]),
            ("{name}", vec![GROUP.to_owned()]),
            ("{job}", ids("/jobs?limit=500", "jobs", "id")?),
            ("{alert}", ids("/alerts?state=all", "alerts", "id")?),
            ("{channel}", ids("/channels", "channels", "id")?),
            ("{repository}", vec!["main".to_owned(), "second".to_owned()]),
            ("{slot}", vec!["admin".to_owned()]),
            ("{snapshot}", ids(&format!("/hosts/{HOST}/snapshots"), "snapshots", "id")?),
        ];
        let mut paths = vec!["/metrics".to_owned(), "/healthz".to_owned()];
        for (path, operations) in document["paths"].as_object().context("no paths")? {
            if operations.get("get").is_some() {
                paths.extend(filled(path, &known));
            }
        }
        Ok(paths)
    }

    /// The server's database with its log, both programs' logs, and what lies with the agents.
    fn files(mut self, secrets: &[String]) -> Result<()> {
        for (agent, _) in &mut self.lines {
            agent.stop()?;
        }
        let folder = self.stage.path().to_path_buf();
        let look = |path: &Path| -> Result<()> {
            let hits = found(secrets, &fs::read(path)?);
            ensure!(hits.is_empty(), "{} holds {hits:?}", path.display());
            Ok(())
        };
        let mut files = all_files(&folder.join("server"))?;
        files.extend(all_files(&folder.join("agents"))?);
        files.extend(all_files(&folder)?.into_iter().filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path.parent() == Some(&folder) && name.starts_with("server-")
        }));
        ensure!(files.iter().any(|path| path.ends_with("holdfast.db")), "no database: {files:?}");
        ensure!(files.iter().any(|path| path.ends_with("state.redb")), "no state: {files:?}");
        let control = ["stands-in-clear".to_owned()];
        let shows = |path: &PathBuf| Ok(!found(&control, &fs::read(path)?).is_empty());
        let shown: Vec<bool> = files.iter().map(shows).collect::<Result<_>>()?;
        ensure!(shown.contains(&true), "what is no secret is not found either");
        // Before the last checkpoint, with the write-ahead log, and after it.
        files.iter().try_for_each(|path| look(path))?;
        self.stage.fleet.stop()?;
        let left = all_files(&folder.join("server"))?;
        left.iter().chain(&all_files(&folder.join("agents"))?).try_for_each(|path| look(path))
    }
}

/// The host's configuration is the only message with a secret, and those of `configured` are all of
/// them.
fn frames_of(host: &str, tap: &Wiretap, configured: &[&str], secrets: &[String]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for talk in tap.heard() {
        for message in wiretap::messages(&talk.down) {
            let text = String::from_utf8_lossy(&message).into_owned();
            for secret in found(secrets, text.as_bytes()) {
                let belongs =
                    configured.contains(&secret.as_str()) && text.contains("\"config.update\"");
                ensure!(belongs, "the server told {host} {secret}");
                seen.insert(secret);
            }
        }
        for message in wiretap::messages(&talk.up) {
            let hits = found(secrets, &message);
            ensure!(hits.is_empty(), "the agent of {host} told {hits:?}");
        }
    }
    ensure!(seen.len() == configured.len(), "the wiretap of {host} heard only {seen:?}");
    Ok(())
}

fn plant_channels(api: &Api) -> Result<()> {
    for (name, settings) in [
        (
            "mail",
            json!({"kind": "mail", "host": "127.0.0.1", "port": 9, "tls": "starttls",
            "username": "u", "password": KEPT[1], "from": "a@example.org",
            "to": ["b@example.org"]}),
        ),
        (
            "hook",
            json!({"kind": "webhook", "url": format!("http://127.0.0.1:9/{}", KEPT[2]),
            "secret": KEPT[3]}),
        ),
        ("slack", json!({"kind": "slack", "url": format!("http://127.0.0.1:9/{}", KEPT[4])})),
        (
            "bot",
            json!({"kind": "telegram", "token": KEPT[5], "chat_id": "1",
            "url": "http://127.0.0.1:9"}),
        ),
    ] {
        let made = api.post("/channels", &json!({"name": name, "settings": settings}))?;
        let id = made["id"].as_str().with_context(|| format!("no id: {made}"))?;
        // Nobody is there: the error is kept and shown.
        api.ask("POST", &format!("/api/v1/channels/{id}/test"), Some(&json!({})))?;
    }
    Ok(())
}

/// Which of the `secrets` are in `bytes`, as they are or in a common disguise.
fn found(secrets: &[String], bytes: &[u8]) -> Vec<String> {
    let holds = |form: &Vec<u8>| bytes.windows(form.len()).any(|part| part == form.as_slice());
    secrets.iter().filter(|secret| forms(secret).iter().any(holds)).cloned().collect()
}

fn filled(path: &str, known: &[(&str, Vec<String>)]) -> Vec<String> {
    let Some(start) = path.find('{') else { return vec![path.to_owned()] };
    let end = path[start..].find('}').map_or(path.len(), |end| start + end + 1);
    let name = &path[start..end];
    let values = known.iter().find(|(known, _)| *known == name).map(|(_, values)| values.clone());
    let values = values.filter(|values| !values.is_empty()).unwrap_or_else(|| vec!["x".to_owned()]);
    let replaced = values.iter().map(|value| path.replacen(name, value, 1));
    replaced.flat_map(|path| filled(&path, known)).collect()
}

fn all_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(all_files(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}
