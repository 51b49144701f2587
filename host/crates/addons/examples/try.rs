//! temporary
use lowtide_addons::*;
use lowtide_addons::compile::CompileCommand;
use std::sync::Arc;
struct NoKv;
use lowtide_addons::caps::kv::*;
impl Kv for NoKv { fn get(&self,_:&str,_:&str)->Result<Option<Vec<u8>>,KvError>{Ok(None)} fn set(&self,_:&str,_:&str,_:&[u8],_:KvUsage)->Result<(),KvError>{Ok(())} fn delete(&self,_:&str,_:&str)->Result<(),KvError>{Ok(())} fn list_keys(&self,_:&str,_:&str,_:usize)->Result<Vec<String>,KvError>{Ok(vec![])} fn usage(&self,_:&str)->Result<KvUsage,KvError>{Ok(Default::default())} }
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some(compile::CHILD_ARGUMENT) { return compile::child_main(); }
    tracing_subscriber::fmt().init();
    let (_tx, state) = tokio::sync::watch::channel(None);
    let outside = Outside { state, kv: Arc::new(NoKv), tell: Arc::new(|h| println!("HAPPENED {h:?}")) };
    let mut addons = std::collections::BTreeMap::new();
    addons.insert(id::AddonId::new("panics").unwrap(), AddonConfig { settings: [("mode".to_string(), Setting::Text("panic".into()))].into(), ..Default::default() });
    let base = std::path::PathBuf::from(&args[1]);
    let config = HostConfig { folder: base.join("addons"), cache_dir: base.join("cache"), disabled_file: base.join("disabled"), proc_dir: "/proc".into(), sys_dir: "/sys".into(), compile: CompileCommand::default(), addons };
    let host = AddonHost::start(config, outside).unwrap();
    for _ in 0..args[2].parse::<u32>().unwrap() {
        std::thread::park_timeout(std::time::Duration::from_secs(1));
        let now = lowtide_clock::now();
        for r in host.reports(now) { println!("{} {:?} runs {} fresh {} {:?} samples {}", r.info.name, r.status, r.runs, r.fresh, r.error, r.samples.as_ref().map_or(0, |s| s.values.len())); 
          if r.info.name.starts_with("addon.") { if let Some(s)=&r.samples { for (x,v) in s.iter().take(3) { println!("   {} {:?} {v}", x.metric.name, x.labels); } } } }
        for v in host.list() { println!("  {} {} {:?} cpu {}us calls {} mem {} crashes {}", v.name, v.state.name(), v.problem, v.metered.cpu_ns/1000, v.metered.calls, v.metered.memory_bytes, v.metered.crashes); }
    }
    host.stop();
    std::process::ExitCode::SUCCESS
}
