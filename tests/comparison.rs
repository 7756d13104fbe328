//! The tables of `benches/compare`: what is aimed at is measured, under names of its own.

#![allow(dead_code)] // Only the tables are looked at here.

#[path = "../benches/comparison/aims.rs"]
mod aims;
#[path = "../benches/comparison/runs.rs"]
mod runs;
#[path = "../benches/comparison/scenarios.rs"]
mod scenarios;

use aims::{AIMS, Beside};
use scenarios::{AmqpPeer, Peer, SCENARIOS};

type Failure = Box<dyn std::error::Error>;

#[test]
fn every_scenario_has_a_name_of_its_own() {
    for (n, scenario) in SCENARIOS.iter().enumerate() {
        assert!(SCENARIOS[..n].iter().all(|other| other.id != scenario.id), "{}", scenario.id);
        assert!(!scenario.id.contains('.'), "{} names a file without its ending", scenario.id);
    }
}

#[test]
fn every_aim_is_of_a_scenario_of_its_row_and_of_a_peer_that_is_measured_there() {
    let peers = [Peer::RabbitMq, Peer::Nats, Peer::JetStream, Peer::Limit, Peer::Disk];
    for aim in AIMS {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.id == aim.scenario);
        let scenario = scenario.unwrap_or_else(|| panic!("{} is not measured", aim.scenario));
        assert_eq!(scenario.row, aim.row, "{}", aim.scenario);
        match aim.beside {
            Beside::Own(other) => assert!(SCENARIOS.iter().any(|scenario| scenario.id == other), "{other}"),
            Beside::Peer(name) => {
                let peer = peers.into_iter().find(|peer| peer.name() == name);
                assert!(
                    peer.is_some_and(|peer| scenario.peers.contains(&peer)),
                    "{name} in {}",
                    aim.scenario
                );
            }
            Beside::Nothing | Beside::Figure(_) => {}
        }
    }
}

#[test]
fn every_row_of_the_evidence_has_scenarios_and_aims() {
    for row in 1..=12 {
        assert!(SCENARIOS.iter().any(|scenario| scenario.row == row), "{row}");
        assert!(AIMS.iter().any(|aim| aim.row == row), "{row}");
    }
}

#[test]
fn a_running_broker_is_known_by_where_it_listens() {
    for address in ["127.0.0.1:5673", "ann:secret@127.0.0.1:5673", "ann:secret@127.0.0.1:5673/shop"] {
        let peer: AmqpPeer = format!("lavinmq={address}").parse().unwrap();
        assert_eq!((peer.name.as_str(), peer.endpoint()), ("lavinmq", "127.0.0.1:5673"));
    }
    for wrong in ["lavinmq", "=127.0.0.1:5673", "lavinmq=here"] {
        assert!(wrong.parse::<AmqpPeer>().is_err(), "{wrong}");
    }
}
