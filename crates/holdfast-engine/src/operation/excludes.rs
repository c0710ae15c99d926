//! Which files the presets leave out.

use holdfast_protocol::message::parameters::ExcludePreset;

/// The restic patterns of `presets`.
///
/// A directory whose content is left out stays itself, where its presence matters after a restore:
/// a system without `/proc` or `/tmp` does not start.
pub(crate) fn patterns(presets: &[ExcludePreset]) -> impl Iterator<Item = &'static str> {
    presets.iter().flat_map(|&preset| of(preset)).copied()
}

fn of(preset: ExcludePreset) -> &'static [&'static str] {
    match preset {
        ExcludePreset::SystemPseudo => {
            &["/proc/*", "/sys/*", "/dev/*", "/run/*", "/var/run/*", "/var/lock/*", "/lost+found"]
        }
        ExcludePreset::Temporary => &["/tmp/*", "/var/tmp/*"],
        ExcludePreset::Caches => &[
            "/var/cache/*",
            "/home/*/.cache/*",
            "/root/.cache/*",
            "/home/*/.npm/_cacache",
            "/home/*/.cargo/registry",
            "/home/*/.gradle/caches",
            "/home/*/.m2/repository",
        ],
        ExcludePreset::Development => &[
            "node_modules",
            "__pycache__",
            "*.pyc",
            ".venv",
            ".tox",
            ".mypy_cache",
            ".pytest_cache",
            "target/debug",
            "target/release",
            ".terraform",
        ],
        ExcludePreset::Trash => &[".Trash", ".Trash-*", ".local/share/Trash", "$RECYCLE.BIN"],
        ExcludePreset::Containers => &[
            "/var/lib/docker/overlay2",
            "/var/lib/docker/image",
            "/var/lib/docker/containers",
            "/var/lib/docker/tmp",
            "/var/lib/containerd",
            "/var/lib/containers/storage/overlay*",
            "/home/*/.local/share/containers/storage/overlay*",
        ],
    }
}
