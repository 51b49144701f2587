//! `lowtide serve`: wires the parts, keeps them until a signal ends them, and tells systemd how it goes.

mod folder;
mod reload;
mod socket;

use super::config::load;
use super::output::{complain, out};
use crate::cli::ServeArgs;
use crate::config::{
    ADDON_CACHE_DIR, ADDONS_DISABLED_FILE, Config, FlagOverride, HISTORY_FILE, Loaded, Sources, host_configs,
};
use crate::exit::Exit;
use crate::{logging, port_holder};
use lowtide_access::{Access, TOKENS_FILE};
use lowtide_addons::HostConfig;
use lowtide_addons::compile::CompileCommand;
use lowtide_api::{Bounds, Edge, Listener, Tls};
use lowtide_app::{AddonSettings, App, HistorySettings, Hooks, LeaseSettings, Settings};
use lowtide_collectors::{ApiMeter, CollectConfig};
use lowtide_core::state::HostState;
use sd_notify::NotifyState;
use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Threads that serve requests. More than this many cores do not help a daemon that others share a machine with.
const WORKERS_MAX: usize = 4;

/// How long data for a client may wait untaken (tcp(7), `TCP_USER_TIMEOUT`).
#[cfg(target_os = "linux")]
const STUCK_PEER_MAX: Duration = Duration::from_secs(30);

/// Connections waiting to be taken, per listener.
const BACKLOG: u32 = 1_024;

pub(crate) fn run(args: &ServeArgs) -> Exit {
    let sources = Sources::from_process(args.config.file.clone(), overrides(args));
    match load(&sources).and_then(|loaded| start(&sources, &loaded)) {
        Ok(()) => Exit::Ok,
        Err(exit) => exit,
    }
}

/// Flags as the configuration takes them. Folders are made absolute here, where the working folder is that of the person
/// who typed them.
fn overrides(args: &ServeArgs) -> Vec<FlagOverride> {
    let absolute =
        |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let given = [
        ("server.listen", "--listen", args.listen.clone()),
        ("storage.data_dir", "--data-dir", args.data_dir.as_deref().map(absolute)),
        ("addons.dir", "--addons-dir", args.addons_dir.as_deref().map(absolute)),
    ];
    let set = |(key, flag, value): (&str, &str, Option<String>)| {
        Some(FlagOverride { key: key.to_owned(), value: value?, flag: flag.to_owned() })
    };
    given.into_iter().filter_map(set).collect()
}

fn start(sources: &Sources, loaded: &Loaded) -> Result<(), Exit> {
    let config = &loaded.config;
    let level = logging::start(config.log.level, config.log.format);
    // Held until the process ends.
    let _lock = folder::claim(&loaded.data_dir).map_err(|error| {
        complain(&error.to_string());
        error.exit()
    })?;
    let tls = tls(config)?;
    let access = access(loaded)?;
    let listeners = bind(config)?;

    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("lt-http")
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| failed("cannot start the runtime", &error))?;
    let settings = Settings {
        collect: collect_config(loaded),
        quiet: config.quiet.to_core(),
        leases: Some(LeaseSettings {
            data_dir: loaded.data_dir.clone(),
            policy: config.leases.to_core(tick_of(config)),
            events_kept: config.leases.events_kept.into(),
            look_every: config.leases.look_every(),
        }),
        addons: Some(addon_settings(loaded)),
        history: history_settings(loaded),
    };
    let tick = settings.collect.tick;
    let meter = Arc::new(ApiMeter::new(lowtide_api::ROUTES));
    // Before the first line: who has read it may send a signal.
    let signals =
        runtime.block_on(async { Signals::new() }).map_err(|error| failed("cannot take signals", &error))?;
    let app = App::start(settings, meter, hooks(tick)).map_err(|error| failed("cannot start", &error))?;
    announce(&listeners, tls.is_some()).map_err(|error| failed("cannot read the address", &error))?;

    let served = runtime.block_on(async {
        let listeners = adopt(listeners, tls.as_ref(), config)
            .map_err(|error| failed("cannot use the socket", &error))?;
        let edge = edge(config, listeners, access);
        let reloader = reload::Reloader::new(sources.clone(), loaded.config.clone(), app.clone(), level);
        let died = Cell::new(false);
        let stop = async {
            tokio::select! {
                () = signals.until_stop(reloader) => {}
                // A daemon that does not measure must not go on answering; whoever supervises it starts it anew.
                () = app.ticking_ended() => died.set(true),
            }
        };
        lowtide_api::serve(edge, app.clone(), stop).await.map_err(|error| failed("cannot serve", &error))?;
        if died.get() {
            complain("the tick loop has ended by a defect; the lines above say which");
            return Err(Exit::Failed);
        }
        Ok(())
    });
    notify(&[NotifyState::Stopping]);
    app.stop();
    tracing::info!("stopped");
    served
}

fn failed(what: &str, error: &dyn std::error::Error) -> Exit {
    let mut text = format!("{what}: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    complain(&text);
    Exit::Failed
}

/// Binds every address; says who holds one that is taken.
fn bind(config: &Config) -> Result<Vec<TcpListener>, Exit> {
    let mut listeners = Vec::new();
    for address in config.server.addresses() {
        let listener = listen(address).map_err(|error| {
            complain(&match error.kind() {
                ErrorKind::AddrInUse => {
                    let holder = port_holder::holder_of(&config.collectors.proc_dir, address);
                    let by = holder.map_or("another process".to_owned(), |holder| {
                        format!("process {} ({})", holder.pid, holder.command_name)
                    });
                    format!("{address} is in use by {by}; stop it, or choose another address with --listen")
                }
                _ => format!("cannot listen on {address}: {error}"),
            });
            Exit::Unavailable
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The first lines on stdout are for whoever started the daemon: where it listens.
fn announce(listeners: &[TcpListener], with_tls: bool) -> std::io::Result<()> {
    for listener in listeners {
        let address = listener.local_addr()?;
        let scheme = if speaks_tls(with_tls, address) { "https" } else { "http" };
        out(&format!("listening on {scheme}://{address}\n"));
    }
    Ok(())
}

/// What only this machine reaches needs no TLS.
fn speaks_tls(with_tls: bool, address: SocketAddr) -> bool {
    with_tls && !address.ip().is_loopback()
}

/// Who may ask. Where other machines can, there must be tokens.
fn access(loaded: &Loaded) -> Result<Arc<Access>, Exit> {
    let mut files = vec![loaded.data_dir.join(TOKENS_FILE)];
    // systemd's LoadCredential=tokens.json:…
    files
        .extend(std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(TOKENS_FILE)));
    let access = Access::open(files, loaded.config.access.requests_per_second).map_err(|error| {
        complain(&format!("{error}; `lowtide token list` reads it too"));
        Exit::Config
    })?;
    let open = loaded.config.server.addresses().into_iter().find(|address| !address.ip().is_loopback());
    match open {
        Some(address) if !access.is_closed() => {
            complain(&format!(
                "{address} can be reached from other machines, and there is no token yet: make one with `lowtide token create NAME \
                 --scope read`, or listen on 127.0.0.1 or ::1"
            ));
            Err(Exit::Config)
        }
        None if !access.is_closed() => {
            tracing::info!("there are no tokens: every user and program of this machine may do everything");
            Ok(Arc::new(access))
        }
        _ => Ok(Arc::new(access)),
    }
}

fn tls(config: &Config) -> Result<Option<Arc<Tls>>, Exit> {
    let server = &config.server;
    let Some((certificate, key)) = server.tls_certificate_file.as_deref().zip(server.tls_key_file.as_deref())
    else {
        return Ok(None);
    };
    Tls::open(certificate, key).map(|tls| Some(Arc::new(tls))).map_err(|error| {
        complain(&format!("TLS cannot be spoken: {error}"));
        Exit::Config
    })
}

fn edge(config: &Config, listeners: Vec<Listener>, access: Arc<Access>) -> Edge {
    let server = &config.server;
    let own_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own_name = Some(own_name.trim().to_owned()).filter(|name| !name.is_empty());
    Edge {
        listeners,
        access,
        local_users: config.access.local_users.iter().map(|scope| scope.to_scope()).collect(),
        hosts: server.hosts.iter().cloned().chain(own_name).collect(),
        base_path: server.base_path.clone().unwrap_or_default().trim_end_matches('/').to_owned(),
        trusted_proxies: server.proxies(),
        bounds: Bounds {
            connections_max: server.connections_max as usize,
            connections_per_peer_max: server.connections_per_peer_max as usize,
            ..Bounds::default()
        },
    }
}

/// A listening socket that takes over an address whose last connections still linger.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Taken over by every accepted connection: a peer that takes nothing for so long is gone, and so is its place.
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(&socket, u32::try_from(STUCK_PEER_MAX.as_millis()).unwrap_or(u32::MAX))?;
    bind(&socket, &address)?;
    listen(&socket, i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    Ok(TcpListener::from(socket))
}

/// The sockets as the runtime takes them; the one that is a file is made here.
fn adopt(
    listeners: Vec<TcpListener>,
    tls: Option<&Arc<Tls>>,
    config: &Config,
) -> std::io::Result<Vec<Listener>> {
    let mut adopted = Vec::new();
    for listener in listeners {
        let tls = tls.filter(|_| listener.local_addr().is_ok_and(|address| speaks_tls(true, address)));
        adopted.push(Listener::Tcp(tokio::net::TcpListener::from_std(listener)?, tls.cloned()));
    }
    if let Some(path) = &config.server.socket {
        adopted.push(Listener::Unix(socket::listen(path)?));
        out(&format!("listening on unix:{}\n", path.display()));
    }
    Ok(adopted)
}

fn tick_of(config: &Config) -> Duration {
    Duration::from_secs(config.collectors.tick_seconds.into())
}

fn collect_config(loaded: &Loaded) -> CollectConfig {
    let collectors = &loaded.config.collectors;
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let intervals = [
        ("filesystem", collectors.filesystem_seconds),
        ("sensors", collectors.sensors_seconds),
        ("power", collectors.power_seconds),
        ("units", collectors.units_seconds),
        ("process", collectors.process_seconds),
        ("api", collectors.api_seconds),
    ];
    CollectConfig {
        tick: tick_of(&loaded.config),
        proc_dir: collectors.proc_dir.clone(),
        sys_dir: collectors.sys_dir.clone(),
        root_dir: collectors.root_dir.clone(),
        data_dir: Some(loaded.data_dir.clone()),
        disabled: collectors.disabled.iter().map(|collector| collector.name().to_owned()).collect(),
        intervals: intervals.map(|(name, interval)| (name.to_owned(), seconds(interval))).into(),
        disk_exclude: collectors.disk_exclude.clone(),
        network_exclude: collectors.network_exclude.clone(),
        filesystem_exclude: collectors.filesystem_exclude.clone(),
        filesystem_include_remote: collectors
            .filesystem_include_remote
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
    }
}

fn history_settings(loaded: &Loaded) -> Option<HistorySettings> {
    let history = &loaded.config.history;
    history.enabled.then(|| HistorySettings {
        file: loaded.data_dir.join(HISTORY_FILE),
        interval: Duration::from_secs(history.interval_seconds.into()),
        keep: history.keep(),
        low_wear: history.low_wear(),
        document: lowtide_api::event_document,
    })
}

fn addon_settings(loaded: &Loaded) -> AddonSettings {
    // Not below the addons folder, which by default is in the data folder too: whatever lies there is taken for an addon.
    AddonSettings {
        host: HostConfig {
            folder: loaded.addons_dir.clone(),
            cache_dir: loaded.data_dir.join(ADDON_CACHE_DIR),
            disabled_file: loaded.data_dir.join(ADDONS_DISABLED_FILE),
            proc_dir: loaded.config.collectors.proc_dir.clone(),
            sys_dir: loaded.config.collectors.sys_dir.clone(),
            compile: CompileCommand::default(),
            addons: host_configs(&loaded.config.addon),
        },
        store_file: loaded.data_dir.join("lowtide.db"),
    }
}

/// What the tick loop tells systemd: it is alive, and how it judges. Said from the loop itself, so that a loop that stands
/// still is seen.
fn hooks(tick: Duration) -> Hooks {
    let watchdog = sd_notify::watchdog_enabled();
    if let Some(limit) = watchdog.filter(|limit| *limit < tick * 2) {
        let (limit_seconds, tick_seconds) = (limit.as_secs_f64(), tick.as_secs_f64());
        tracing::warn!(
            limit_seconds,
            tick_seconds,
            "the watchdog is fed once a tick; set WatchdogSec= to at least two ticks"
        );
    }
    let mut told = None;
    Hooks {
        after_tick: Box::new(move |state: &HostState| {
            if told.is_none() {
                // Ready is who has measured: before that every question is answered with "not yet".
                notify(&[NotifyState::Ready]);
            }
            let verdict = (state.quiet.state, state.quiet.score);
            if told != Some(verdict) {
                told = Some(verdict);
                notify(&[NotifyState::Status(&format!("{} {}", verdict.0.name(), verdict.1))]);
            }
            if watchdog.is_some() {
                notify(&[NotifyState::Watchdog]);
            }
        }),
    }
}

/// Tells systemd, where there is one; a lost message is not worth a failure.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// The signals that the daemon obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Taken so that it does not end the process: a limit on the size of files is to be like a full disk.
    _file_too_large: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_too_large: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Reloads at every SIGHUP; resolves at SIGTERM or SIGINT.
    async fn until_stop(mut self, mut reloader: reload::Reloader) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    // In one message: systemd takes the time only together with the word.
                    match NotifyState::monotonic_usec_now() {
                        Ok(usec) => notify(&[NotifyState::Reloading, usec]),
                        Err(error) => tracing::debug!(%error, "no time to tell systemd"),
                    }
                    tokio::select! {
                        () = reloader.reload() => {}
                        // Addons that are started anew may take their time; who stops the daemon need not wait for that.
                        _ = self.terminate.recv() => return,
                        _ = self.interrupt.recv() => return,
                    }
                    notify(&[NotifyState::Ready]);
                }
            }
        }
    }
}
