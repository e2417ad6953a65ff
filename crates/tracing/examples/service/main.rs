//! A web service whose logs go to standard output and to Kafka. See README.md beside this file.

use std::{env, error::Error, io::Write, sync::mpsc, time::Duration};

use axum::{Router, extract::Path, http::StatusCode, routing::get};
use ottla_tracing::{Format, Guard, Key, Sink};
use tokio::{net::TcpListener, sync::oneshot};
use tracing::{Instrument, Level, debug, error, info, info_span, warn};
use tracing_subscriber::{filter::LevelFilter, fmt, prelude::*};

/// How long the service takes at its end, at most: for what it serves, and for its logs.
const END: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    run()
}

/// The service, until it is told to end.
pub fn run() -> Result<(), Box<dyn Error>> {
    let guard = log_to_kafka()?;

    // What does not log, but writes lines, is in Kafka as well.
    writeln!(guard.sink().writer(Level::INFO), "started as process {}", std::process::id())?;

    // SIGTERM: the service ends what it serves, then the sink what it has, then the system the program.
    let (stop, stopped) = oneshot::channel::<()>();
    let (served, is_served) = mpsc::channel::<()>();
    guard.close_on_sigterm(END, move || {
        // The other end may be gone, as the service has ended by itself.
        let _ = stop.send(());
        let _ = is_served.recv_timeout(END);
    })?;

    tokio::runtime::Runtime::new()?.block_on(serve(stopped))?;
    drop(served);

    // Returning from `main` would do, as dropping the guard waits as well. Before `std::process::exit` this has to be.
    let counters = guard.close(END);
    let missing = counters.dropped.total() + counters.lost.total();
    eprintln!("{} events are in Kafka, {missing} are missing there", counters.delivered);
    Ok(())
}

/// From now on logs go to standard output and to the topic `logs`.
fn log_to_kafka() -> Result<Guard, Box<dyn Error>> {
    let brokers = env::var("BROKERS").unwrap_or("localhost:9092".into());
    let (sink, guard) = Sink::builder([brokers], "logs")
        .format(Format::Ecs)
        .field("service.name", "tea")
        .key(Key::TraceId)
        .redact(["password"])
        .build()?;
    tracing_subscriber::registry()
        .with(fmt::layer().with_filter(LevelFilter::INFO))
        .with(sink.layer().with_filter(LevelFilter::DEBUG))
        .init();
    // A panic is in Kafka before the program may end by it.
    sink.panic_hook(END);
    Ok(guard)
}

async fn serve(stopped: oneshot::Receiver<()>) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(env::var("LISTEN").unwrap_or("127.0.0.1:3000".into())).await?;
    info!(address = %listener.local_addr()?, "the tea is ready to be ordered");
    let routes = Router::new().route("/tea/{guests}", get(tea)).route("/drop", get(drop_the_cup));
    axum::serve(listener, routes)
        .with_graceful_shutdown(async {
            tokio::select! {
                _ = stopped => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        })
        .await?;
    info!("the last cup is empty");
    Ok(())
}

async fn tea(Path(guests): Path<u32>) -> Result<String, StatusCode> {
    // A real service takes it from the header `traceparent`.
    let trace_id = format!("{:032x}", rand());
    let request = info_span!("request", path = "/tea", guests, trace.id = trace_id, password = "Darjeeling");
    async {
        debug!("a kettle is looked for");
        if guests > 12 {
            error!(kettles = 3, "there are too many guests");
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        if guests > 6 {
            warn!(kettles = 2, "this takes two kettles");
        }
        info!("tea is served");
        Ok(format!("tea for {guests}\n"))
    }
    .instrument(request)
    .await
}

async fn drop_the_cup() {
    panic!("the cup is broken");
}

/// A number that is another one each time.
fn rand() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}
