//! Definitions of the network collector. Only the table of metrics; `linux/network.rs` and `portable.rs` measure them.

use crate::config::TICK_DEFAULT;
use crate::define::{self, metrics};
use lowtide_core::metric::Text;
use lowtide_core::report::CollectorInfo;

const INTERFACE: &[Text] = &[Text::Borrowed("interface")];

metrics! {
    RECEIVE_BYTES = counter("host_network_receive_bytes_total", Bytes, INTERFACE, "Bytes received by the interface (proc_pid_net(5), dev).");
    TRANSMIT_BYTES = counter("host_network_transmit_bytes_total", Bytes, INTERFACE, "Bytes sent by the interface.");
    RECEIVE_PACKETS = counter("host_network_receive_packets_total", Count, INTERFACE, "Packets received by the interface.");
    TRANSMIT_PACKETS = counter("host_network_transmit_packets_total", Count, INTERFACE, "Packets sent by the interface.");
    RECEIVE_ERRORS = counter("host_network_receive_errors_total", Count, INTERFACE, "Packets that the interface received with an error.");
    TRANSMIT_ERRORS = counter("host_network_transmit_errors_total", Count, INTERFACE, "Packets that the interface could not send.");
    RECEIVE_DROPS = counter("host_network_receive_drops_total", Count, INTERFACE, "Received packets thrown away, for example for want of memory.");
    TRANSMIT_DROPS = counter("host_network_transmit_drops_total", Count, INTERFACE, "Packets thrown away before they were sent.");
    RECEIVE_RATE = gauge("host_network_receive_bytes_per_second", BytesPerSecond, INTERFACE, "Bytes a second received in the last interval.");
    TRANSMIT_RATE = gauge("host_network_transmit_bytes_per_second", BytesPerSecond, INTERFACE, "Bytes a second sent in the last interval.");
}

/// Who the collector is.
pub(crate) fn info() -> CollectorInfo {
    let help = "Bytes, packets, errors and drops for each network interface.";
    define::info(("network", "host"), "host_network_", help, TICK_DEFAULT, &METRICS)
}
