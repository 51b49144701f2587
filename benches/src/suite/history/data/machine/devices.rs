//! Disks and network interfaces of the machine. Called by the machine, once a tick.

use super::super::Record;
use super::super::random::Random;
use super::{Grown, PAGE, Work, hundredths, ratio};
use lowtide_core::units::Unit::{Bytes, Count, Ratio, Seconds};

#[derive(Debug)]
pub(super) struct Disk {
    name: &'static str,
    /// Its part of the work.
    share: f64,
    reads: Grown,
    writes: Grown,
    read_bytes: Grown,
    written_bytes: Grown,
    busy_ms: Grown,
    /// Milliseconds that requests took, all together.
    weighted_ms: f64,
}

impl Disk {
    pub(super) fn new(name: &'static str, share: f64, random: &mut Random) -> Self {
        let mut since_boot = |mean: f64| Grown { total: random.count(mean * share), by: 0.0 };
        let (reads, writes) = (since_boot(8e5), since_boot(4e6));
        let (read_pages, written_pages) = (since_boot(9e6), since_boot(2.4e7));
        let bytes = |pages: Grown| Grown { total: pages.total * PAGE, by: 0.0 };
        Self {
            name,
            share,
            reads,
            writes,
            read_bytes: bytes(read_pages),
            written_bytes: bytes(written_pages),
            busy_ms: since_boot(3e6),
            weighted_ms: 0.0,
        }
    }

    /// Bytes written meanwhile.
    pub(super) fn step(&mut self, work: &Work, random: &mut Random) -> f64 {
        let reads = random.count(self.share * (0.1 + work.disk * 500.0));
        let writes = random.count(self.share * (9.0 + work.disk * 900.0));
        self.reads.add(reads);
        self.writes.add(writes);
        let (read_pages, written_pages) = (random.between(1.0, 16.0), random.between(1.0, 6.0));
        self.read_bytes.add(random.count(reads * read_pages) * PAGE);
        self.written_bytes.add(random.count(writes * written_pages) * PAGE);
        let took = random.count(reads * 0.3 + writes * 0.8);
        self.weighted_ms = took;
        self.busy_ms.add((took * random.between(0.4, 0.9)).round().min(5_000.0));
        self.written_bytes.by
    }

    pub(super) fn record(&self, out: &mut Record<'_>, elapsed: f64) {
        let labels = [("device", self.name)];
        self.reads.record(out, "host_disk_reads_total", &labels, Count);
        self.writes.record(out, "host_disk_writes_total", &labels, Count);
        self.read_bytes.record(out, "host_disk_read_bytes_total", &labels, Bytes);
        self.written_bytes.record(out, "host_disk_written_bytes_total", &labels, Bytes);
        out.counter("host_disk_busy_seconds_total", &labels, Seconds, self.busy_ms.total / 1e3);
        self.read_bytes.record_rate(out, "host_disk_read_bytes_per_second", &labels, elapsed);
        self.written_bytes.record_rate(out, "host_disk_written_bytes_per_second", &labels, elapsed);
        out.gauge("host_disk_busy_ratio", &labels, Ratio, ratio(self.busy_ms.by / 1e3 / elapsed));
        out.gauge("host_disk_queue_depth", &labels, Count, hundredths(self.weighted_ms / 1e3 / elapsed));
    }
}

#[derive(Debug)]
pub(super) struct Interface {
    name: &'static str,
    received: Grown,
    sent: Grown,
    received_packets: Grown,
    sent_packets: Grown,
}

impl Interface {
    pub(super) fn new(name: &'static str, random: &mut Random) -> Self {
        let mut since_boot = |mean: f64| Grown { total: random.count(mean), by: 0.0 };
        Self {
            name,
            received: since_boot(2.1e10),
            sent: since_boot(4.4e9),
            received_packets: since_boot(2.6e7),
            sent_packets: since_boot(1.9e7),
        }
    }

    pub(super) fn step(&mut self, work: &Work, random: &mut Random) {
        let looped = self.name == "lo";
        let (rest, reach) = if looped { (4.0, 400.0) } else { (30.0, 4_000.0) };
        let received = random.count(rest + work.now * reach);
        self.received_packets.add(received);
        self.received.add((received * random.between(90.0, 900.0)).round());
        if looped {
            self.sent_packets.add(received);
            self.sent.add(self.received.by);
        } else {
            let sent = random.count(0.7 * received);
            self.sent_packets.add(sent);
            self.sent.add((sent * random.between(70.0, 400.0)).round());
        }
    }

    pub(super) fn record(&self, out: &mut Record<'_>, elapsed: f64) {
        let labels = [("interface", self.name)];
        self.received.record(out, "host_network_receive_bytes_total", &labels, Bytes);
        self.sent.record(out, "host_network_transmit_bytes_total", &labels, Bytes);
        self.received_packets.record(out, "host_network_receive_packets_total", &labels, Count);
        self.sent_packets.record(out, "host_network_transmit_packets_total", &labels, Count);
        self.received.record_rate(out, "host_network_receive_bytes_per_second", &labels, elapsed);
        self.sent.record_rate(out, "host_network_transmit_bytes_per_second", &labels, elapsed);
    }
}
