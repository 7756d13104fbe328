//! Where an example finds its broker.

use std::env;
use std::error::Error;

use rialto::broker::Broker;
use rialto::server::Embedded;
use rialto_client::{Address, Client};

/// What the examples' `main` returns.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Connects to the broker whose address is the first argument or in `RIALTO_URL`. Without either, starts one
/// inside this process, which lives for as long as the second value.
pub(crate) async fn connect() -> Result<(Client, Option<Embedded>), Box<dyn Error>> {
    if let Some(url) = env::args().nth(1).or_else(|| env::var("RIALTO_URL").ok()) {
        // Not the whole address: it may hold a password.
        println!("using the broker at {}\n", url.parse::<Address>()?.endpoint());
        return Ok((Client::connect(&url).await?, None));
    }
    let broker = Embedded::start(Broker::in_memory().build()).await?;
    println!("started a broker inside this process, at {}\n", broker.address());
    Ok((Client::connect(&broker.url()).await?, Some(broker)))
}
