//! What a server in the wrong hands could ask for, by what it would get out of it.

use serde_json::{Value, json};

use super::World;

/// One command, and the codes with which a host may refuse it.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) job: String,
    pub(crate) payload: Value,
    pub(crate) codes: &'static [&'static str],
}

const POLICY: &[&str] = &["refused_by_policy"];
const UNREAD: &[&str] = &["command_not_understood"];
const INVALID: &[&str] = &["invalid_configuration", "invalid_parameters"];
/// What no policy has to know about, because it makes no sense anywhere.
const SENSELESS: &[&str] = &[
    "command_not_understood",
    "invalid_configuration",
    "invalid_parameters",
    "operation_unsupported",
    "refused_by_policy",
    "restore_target_refused",
];

/// The repository that the host allows, and the first of those that it does not.
const ALLOWED: u128 = 1;
const FOREIGN: u128 = 100;
const VARIABLES: u128 = 200;
const PASSWORDS: u128 = 300;

/// Texts that a careless program takes for an option, a path, a command or the end of a string.
const OPTIONS: [&str; 8] = [
    "--files-from=/etc/passwd",
    "-o",
    "--option=sftp.command=touch /tmp/x",
    "--password-command=id",
    "--",
    "-",
    "$(id)",
    "; id",
];

pub(crate) fn all(world: &World) -> Vec<Command> {
    let mut list = List::default();
    operations(&mut list);
    unknown_words(&mut list);
    paths_to_read(&mut list, world);
    places_to_write(&mut list, world);
    what_to_restore(&mut list, world);
    hooks(&mut list, world);
    sources(&mut list, world);
    foreign_repositories(&mut list, world);
    list.0
}

/// What the host does allow.
pub(crate) fn honest(world: &World) -> Command {
    let mut list = List::default();
    let file = format!("{}/allowed/file", world.base.display());
    list.add(&[], "backup", json!({"tag": "honest", "includes": [file]}));
    Command { job: id(0xfeed), ..renumbered(list.0.remove(0), 0xfeed) }
}

pub(crate) fn nobodys_job() -> Command {
    Command { job: id(0xdead), payload: Value::Null, codes: &[] }
}

/// The repositories of the evil configuration.
pub(crate) fn repositories(world: &World) -> Vec<Value> {
    let allowed = format!("{}/repository", world.base.display());
    let repository = |number: u128, url: &str, password: &str, environment: Value| {
        json!({"id": id(number), "name": format!("r{number}"), "url": url,
            "password": password, "environment": environment})
    };
    let mut all = vec![repository(ALLOWED, &allowed, "good", json!({}))];
    for (number, url) in (FOREIGN..).zip(locations(world)) {
        all.push(repository(number, &url, "good", json!({})));
    }
    for (number, name) in (VARIABLES..).zip(VARIABLE_NAMES) {
        all.push(repository(number, &allowed, "good", json!({name: "/tmp/evil"})));
    }
    for (number, password) in (PASSWORDS..).zip(PASSWORD_TEXTS) {
        all.push(repository(number, &allowed, password, json!({})));
    }
    all
}

/// Variables by which restic, or what it starts, would run a program or read a file.
const VARIABLE_NAMES: [&str; 14] = [
    "RESTIC_PASSWORD_COMMAND",
    "RESTIC_REPOSITORY",
    "RESTIC_REPOSITORY_FILE",
    "RESTIC_PASSWORD_FILE",
    "RESTIC_FEATURES",
    "RCLONE_PASSWORD_COMMAND",
    "RCLONE_CONFIG",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "LD_PRELOAD",
    "PATH",
    "HOME",
    "HTTPS_PROXY",
    "OS_A=B",
];

const PASSWORD_TEXTS: [&str; 4] = ["", " x", "a\nb", "a\0b"];

fn locations(world: &World) -> Vec<String> {
    let (base, elsewhere) = (world.base.display(), &world.elsewhere);
    vec![
        format!("{base}/evil-repository"),
        format!("{base}/repository-evil"),
        format!("{base}/repository/../evil-repository"),
        format!("local:{base}/evil-repository"),
        format!("rest:http://{elsewhere}/"),
        format!("rest:http://user:password@{elsewhere}/"),
        format!("rest:https://backup.invalid:8000@{elsewhere}/"),
        format!("rest:https://{elsewhere}/backup.invalid:8000"),
        format!("rest:https://backup.invalid:8000.{elsewhere}/"),
        format!("s3:http://{elsewhere}/bucket"),
        format!("swift:{elsewhere}:/x"),
        "sftp:-oProxyCommand=touch${IFS}/tmp/evil:/x".to_owned(),
        "sftp://-oProxyCommand=x/x".to_owned(),
        format!("sftp:user@{elsewhere}:/x"),
        "rclone:evil:x".to_owned(),
        "rclone::sftp,ssh='touch /tmp/evil':x".to_owned(),
        "b2:bucket:x".to_owned(),
        "azure:bucket:/x".to_owned(),
        "gs:bucket:/x".to_owned(),
        format!("--repo={base}/evil-repository"),
        "-".to_owned(),
        String::new(),
        " ".to_owned(),
        format!("{base}/repository\n{base}/evil-repository"),
        format!("{base}/repository\0"),
    ]
}

#[derive(Default)]
struct List(Vec<Command>);

impl List {
    fn add(&mut self, codes: &'static [&'static str], operation: &str, more: Value) {
        self.add_in(ALLOWED, codes, &json!(operation), more);
    }

    fn add_in(
        &mut self,
        repository: u128,
        codes: &'static [&'static str],
        operation: &Value,
        more: Value,
    ) {
        let number = 0x1000 + self.0.len() as u128;
        let mut payload = json!({"job_id": id(number), "kind": operation,
            "repository_id": id(repository), "config_version": 1});
        if let (Some(payload), Value::Object(more)) = (payload.as_object_mut(), more) {
            payload.extend(more);
        }
        self.0.push(Command { job: id(number), payload, codes });
    }

    fn restore(&mut self, codes: &'static [&'static str], change: Value) {
        let mut wish = json!({"kind": "restore", "snapshot_id": "0123abcd",
            "target": "restore_root"});
        if let (Some(wish), Value::Object(change)) = (wish.as_object_mut(), change) {
            wish.extend(change);
        }
        self.add(codes, "restore", json!({"parameters": wish}));
    }

    fn backup(&mut self, codes: &'static [&'static str], includes: &[&str]) {
        self.add(codes, "backup", json!({"tag": "evil", "includes": includes}));
    }
}

/// Kinds of jobs that the host does not do, with all that would make them worse.
fn operations(list: &mut List) {
    let keep_one = json!({"policy": {"keep": {"keep_last": 1}}});
    let all = [
        ("init", json!(null)),
        ("snapshots", json!(null)),
        ("prune", json!(null)),
        ("prune", json!({"max_unused": "unlimited"})),
        ("prune", json!({"repack_uncompressed": true})),
        ("unlock", json!(null)),
        ("unlock", json!({"remove_all": true})),
        ("forget", json!({"which": keep_one})),
        ("forget", json!({"which": {"snapshots": ["0123abcd"]}})),
        ("tag", json!({"snapshot_ids": ["0123abcd"], "edit": {"set": []}})),
        ("tag", json!({"snapshot_ids": ["0123abcd"], "edit": {"add": ["x"]}})),
        ("stats", json!({"mode": "raw_data"})),
        ("diff", json!({"from_snapshot_id": "0123abcd", "to_snapshot_id": "0123abce"})),
    ];
    for (operation, parameters) in all {
        let mut more = json!({});
        if let Value::Object(mut fields) = parameters {
            fields.insert("kind".to_owned(), json!(operation));
            more = json!({"parameters": fields});
        }
        list.add(POLICY, operation, more);
    }
    for operation in ["ls", "dump"] {
        let parameters = json!({"kind": operation, "snapshot_id": "0123abcd", "path": "/etc"});
        list.add(SENSELESS, operation, json!({"parameters": parameters}));
    }
}

/// Words that are no operation, parameters of another one, and fields that nobody knows.
fn unknown_words(list: &mut List) {
    let words =
        ["exec", "shell", "", "Backup", "backup ", "backup;id", "self-update", "mount", "key"];
    for word in words {
        list.add(UNREAD, word, json!({}));
    }
    for word in [json!(null), json!(7), json!(["backup"]), json!({"backup": {}})] {
        list.add_in(ALLOWED, UNREAD, &word, json!({}));
    }
    let fields = ["args", "options", "env", "command", "password_command", "extra"];
    for field in fields {
        let backup = json!({"kind": "backup", field: ["--no-lock"]});
        list.add(UNREAD, "backup", json!({"parameters": backup}));
        let restore = json!({"kind": "restore", "snapshot_id": "0123abcd",
            "target": "restore_root", field: "--target=/"});
        list.add(UNREAD, "restore", json!({"parameters": restore}));
    }
    for other in ["prune", "unlock", "check"] {
        list.add(SENSELESS, "backup", json!({"parameters": {"kind": other}}));
    }
    for read_data in [
        json!({"percent": -1.0}),
        json!({"percent": 101.0}),
        json!({"part": {"number": 2, "of": 1}}),
        json!({"part": {"number": 0, "of": 1}}),
        json!("--read-data"),
        json!({"percent": "10%; id"}),
    ] {
        let check = json!({"kind": "check", "read_data": read_data});
        list.add(SENSELESS, "check", json!({"parameters": check}));
    }
}

fn paths_to_read(list: &mut List, world: &World) {
    let (base, agent) = (world.base.display(), world.agent.display());
    let inside = format!("{base}/allowed");
    let outside = [
        "/".to_owned(),
        "/etc".to_owned(),
        "/etc/shadow".to_owned(),
        "/root/.ssh".to_owned(),
        "/proc/self/environ".to_owned(),
        "//etc".to_owned(),
        "relative".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        "~".to_owned(),
        "C:\\Windows".to_owned(),
        format!("{base}"),
        format!("{base}/outside"),
        format!("{base}/allowed-not"),
        format!("{base}/allowed/../outside"),
        format!("{base}/allowed/./../outside"),
        format!("{base}/allowed/deep/../../outside/secret"),
        format!("{base}/allowed/leak/secret"),
        format!("{base}/allowed/leak/deep"),
        format!("{agent}/token"),
        format!("{agent}/state.redb"),
        format!("{agent}/policy.toml"),
        format!("{agent}/run"),
        "/etc\0".to_owned(),
        "/etc\n/root".to_owned(),
        String::new(),
    ];
    for path in outside.iter().map(String::as_str).chain(OPTIONS) {
        list.backup(SENSELESS, &[path]);
    }
    for path in ["/etc/shadow", "--files-from=/etc/passwd", "..", ""] {
        // What is allowed beside it does not make it better.
        list.backup(SENSELESS, &[&inside, path]);
    }
    let many = vec!["/etc"; 4000];
    list.backup(POLICY, &many);
    list.backup(SENSELESS, &[]);
    for excludes in ["\0", "a\0b"] {
        list.add(
            SENSELESS,
            "backup",
            json!({"tag": "x", "includes": [inside], "excludes": [excludes]}),
        );
    }
    for tag in ["a\0b", "a,b"] {
        list.add(SENSELESS, "backup", json!({"tag": tag, "includes": [inside]}));
    }
}

fn places_to_write(list: &mut List, world: &World) {
    let (base, agent) = (world.base.display(), world.agent.display());
    list.restore(POLICY, json!({"target": "original"}));
    list.restore(POLICY, json!({"target": "original", "overwrite": "always"}));
    let places = [
        "/".to_owned(),
        "/etc".to_owned(),
        "/etc/cron.d".to_owned(),
        "/root/.ssh".to_owned(),
        "relative".to_owned(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{base}/outside"),
        format!("{base}/restored/../outside"),
        format!("{base}/restored/x/../../outside"),
        format!("{base}/restored-not"),
        format!("{agent}"),
        format!("{agent}/policy.toml"),
        format!("{agent}/restore"),
        format!("{base}/restored/\0"),
        String::new(),
    ];
    for place in places.iter().map(String::as_str).chain(OPTIONS) {
        list.restore(SENSELESS, json!({"target": {"directory": place}}));
    }
    for place in ["restored/leak", "restored/leak/deep", "restored/dangling", "restored/dangling/x"]
    {
        let place = format!("{base}/{place}");
        list.restore(SENSELESS, json!({"target": {"directory": place}}));
    }
    for target in [json!("/etc"), json!("anywhere"), json!({"url": "x"}), json!(null), json!(["/"])]
    {
        list.restore(UNREAD, json!({"target": target}));
    }
}

fn what_to_restore(list: &mut List, world: &World) {
    let place = json!({"directory": format!("{}/restored/x", world.base.display())});
    let long = "a".repeat(4096);
    let ids = ["", "latest", "--help", "-", "0123abc!", "../../key", "0123abcd:/etc", "a b", &long];
    for id in ids.into_iter().chain(OPTIONS) {
        list.restore(SENSELESS, json!({"target": place, "snapshot_id": id}));
    }
    for path in ["relative", "", "/a/../b", "/a\0", "..", "--include=/"] {
        list.restore(SENSELESS, json!({"target": place, "paths": [path]}));
    }
    list.restore(UNREAD, json!({"target": place, "overwrite": "everything"}));
    list.restore(UNREAD, json!({"target": place, "paths": "/"}));
    list.restore(UNREAD, json!({"target": place, "dry_run": "no"}));
}

/// Names that the host's policy does not know, before a backup and after it.
fn hooks(list: &mut List, world: &World) {
    let inside = format!("{}/allowed/file", world.base.display());
    let names = ["stop-app", "/bin/sh", "sh -c id", "../../bin/sh", "note\0", "note ", "Note", ""];
    for name in names.into_iter().chain(OPTIONS) {
        for phase in ["pre", "post"] {
            let more = json!({"tag": "x", "includes": [inside], "hooks": {phase: ["note", name]}});
            list.add(POLICY, "backup", more);
        }
    }
    let command = json!({"pre": [{"command": ["/bin/sh"]}]});
    list.add(UNREAD, "backup", json!({"tag": "x", "includes": [inside], "hooks": command}));
}

fn sources(list: &mut List, world: &World) {
    for preset in ["postgresql", "mysql", "sqlite", "redis", "mongodb"] {
        for database in ["shop", "--host=evil", "notes/../x", "", "postgres user=x"] {
            let source = json!({"preset": preset, "database": database});
            list.add(POLICY, "backup", json!({"tag": "x", "source": source}));
        }
    }
    for preset in ["shell", "command", "", "PostgreSQL"] {
        let source = json!({"preset": preset, "database": "notes"});
        list.add(UNREAD, "backup", json!({"tag": "x", "source": source}));
    }
    let outside = format!("{}/outside", world.base.display());
    let source = json!({"preset": "sqlite", "database": "notes"});
    list.add(POLICY, "backup", json!({"tag": "x", "source": source, "includes": [outside]}));
}

fn foreign_repositories(list: &mut List, world: &World) {
    let inside = format!("{}/allowed/file", world.base.display());
    let backup = || json!({"tag": "x", "includes": [inside]});
    for number in (FOREIGN..).take(locations(world).len()) {
        list.add_in(number, SENSELESS, &json!("backup"), backup());
        list.add_in(number, SENSELESS, &json!("check"), json!({}));
    }
    for number in (VARIABLES..).take(VARIABLE_NAMES.len()) {
        list.add_in(number, INVALID, &json!("backup"), backup());
    }
    for number in (PASSWORDS..).take(PASSWORD_TEXTS.len()) {
        list.add_in(number, INVALID, &json!("backup"), backup());
    }
    list.add_in(999, &["repository_unknown"], &json!("backup"), backup());
}

fn id(number: u128) -> String {
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn renumbered(mut command: Command, number: u128) -> Command {
    command.payload["job_id"] = json!(id(number));
    command
}
