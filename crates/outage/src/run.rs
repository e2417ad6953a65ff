//! A run: records are offered, brokers die and come back, and what was seen and said is judged.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use ottla_client::{Kafka, admin::NewTopic};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};

use crate::{
    brokers::{Brokers, THE_ONE},
    failure::{Doing, Result},
    judge::{Judgement, judge},
    load::{Load, PARTITIONS, Said, TOPIC},
    log,
    meter::{Meter, Sample},
    options::{How, Kind, Options},
    reader::{self, Leader},
    verdict::Verdict,
};

/// What the process may take beside the client's budget.
const RSS_BESIDE_KIB: u64 = 32 << 10;
/// The most lines of a whole run.
const LOG_LINES_MAX: u64 = 60;
/// How soon records flow when it is known again who leads.
const FLOWS_WITHIN: Duration = Duration::from_secs(2);
/// What the living keep of their part of the offered rate.
const LIVING_KEEP: f64 = 0.9;
/// So long after they died, brokers say nothing any more that was said before.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What was seen of the process and of the records.
struct Seen {
    /// When brokers could be reached again.
    back: Instant,
    before: Sample,
    /// When brokers had said their last words, and before they came back.
    dead: [Sample; 2],
    /// Offered and delivered, by partition, while brokers were dead.
    meanwhile: Vec<u64>,
    meanwhile_took: Duration,
    after: Sample,
    most: Sample,
    end: Sample,
}

/// Makes a run.
///
/// # Errors
/// It could not be made: the system refuses something, or a process of it has ended.
pub fn run(options: &Options) -> Result<Verdict> {
    options.check()?;
    log::start()?;
    let mut brokers = Brokers::start(options)?;
    // The client has a thread of its own, as it has by default, on which its tasks can be counted.
    let (client, main) = (runtime("client")?, runtime("load")?);
    let kafka = connect(options, &brokers, &client)?;
    if options.brokers == Kind::Ottla {
        let topic = NewTopic::new(TOPIC).partitions(PARTITIONS);
        main.block_on(kafka.admin().create_topics([topic]))?.remove(0).1?;
    }
    let leaders = reader::leaders(&brokers.addresses()[0])?;
    let (seen, said) = watch(options, kafka, &mut brokers, (&client, &main))?;
    let judgement = judge(&said.ledger.entries().doing("the file of fates")?, &leaders)?;
    Ok(find(options, &seen, &said, &judgement, &leaders))
}

fn runtime(name: &str) -> Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().doing(name)
}

fn connect(options: &Options, brokers: &Brokers, client: &Runtime) -> Result<Kafka> {
    let _on = client.enter();
    let kafka = Kafka::builder(brokers.addresses())
        .memory_budget((options.budget as usize) << 20)
        .request_timeout(options.request_timeout)
        .connect_timeout(options.request_timeout.min(Duration::from_secs(10)))
        .on_current_runtime();
    Ok(kafka.build()?)
}

/// Offers records while brokers live, die and come back.
fn watch(
    options: &Options,
    kafka: Kafka,
    brokers: &mut Brokers,
    (client, main): (&Runtime, &Runtime),
) -> Result<(Seen, Arc<Said>)> {
    let wait = |time| main.block_on(async move { sleep(time).await });
    let meter = Meter::new(kafka.clone(), client.handle().clone());
    let watching = meter.watch(options.samples.as_deref(), main)?;
    let load = Load::start(options, &kafka, main)?;
    let said = load.said().clone();
    wait(options.warm_up());
    let before = meter.sample();
    brokers.die()?;
    wait(LAST_WORDS);
    let dead = (meter.sample(), delivered(&said), Instant::now());
    wait(options.dead - LAST_WORDS);
    let (still_dead, meanwhile_took) = (meter.sample(), dead.2.elapsed());
    let meanwhile = delivered(&said).iter().zip(dead.1).map(|(now, then)| now - then).collect();
    let back = brokers.come_back()?;
    said.are_back(back);
    wait(options.after());
    let after = meter.sample();
    main.block_on(load.stop(options))?;
    let end = meter.sample();
    let most = watching.stop(end)?;
    let dead = [dead.0, still_dead];
    Ok((Seen { back, before, dead, meanwhile, meanwhile_took, after, most, end }, said))
}

fn delivered(said: &Said) -> Vec<u64> {
    said.delivered.iter().map(|delivered| delivered.load(Relaxed)).collect()
}

/// Holds what was seen and said against the limits.
fn find(options: &Options, seen: &Seen, said: &Said, judgement: &Judgement, leaders: &[Leader]) -> Verdict {
    let mut verdict = Verdict::default();
    note_records(&mut verdict, seen, said, judgement);
    limit_process(&mut verdict, options, seen);
    limit_fates(&mut verdict, seen, said, judgement);
    let dies = |partition: &i32| options.how != How::KillOne || leaders[*partition as usize].0 == THE_ONE;
    let (dying, living): (Vec<i32>, Vec<i32>) = (0..PARTITIONS).partition(dies);
    limit_return(&mut verdict, seen, said, &dying);
    if options.how == How::KillOne {
        limit_living(&mut verdict, options, seen, &living);
    } else {
        let [then, still] = seen.dead.map(|sample| sample.delivered);
        let what = "delivered while nobody could: 0, or brokers were not dead";
        verdict.limit(what, still == then, (still - then).to_string());
    }
    let offered = options.offered() as f64;
    let took = seen.before.delivered as f64 / seen.before.at.as_secs_f64();
    match options.how {
        How::KillOne => verdict.note(format!("offered {offered} records/s")),
        _ => verdict.limit(
            "offered at least 1.9 times what healthy brokers took",
            took > 0.0 && offered >= 1.9 * took,
            format!("{offered} records/s, {took:.0} taken"),
        ),
    }
    verdict
}

fn note_records(verdict: &mut Verdict, seen: &Seen, said: &Said, judgement: &Judgement) {
    let Judgement { delivered, no, maybe, maybe_there, rejected, there, .. } = judgement;
    let offered = said.offered.load(Relaxed);
    verdict.note(format!(
        "{offered} records offered, {rejected} not accepted; of the others {delivered} delivered, {no} not written, \
         {maybe} perhaps ({maybe_there} are); {there} in the logs"
    ));
    verdict.note(format!(
        "{:.0} s, with the close {:.0} s",
        seen.after.at.as_secs_f64(),
        seen.end.at.as_secs_f64()
    ));
}

fn limit_process(verdict: &mut Verdict, options: &Options, seen: &Seen) {
    let most_kib = u64::from(options.budget) * 1024 + RSS_BESIDE_KIB;
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    let reached = format!(
        "{} at most; {} before, {} after",
        mib(seen.most.rss_kib),
        mib(seen.before.rss_kib),
        mib(seen.after.rss_kib)
    );
    verdict.limit(
        format!("RSS at most memory_budget + 32 MiB = {} MiB", most_kib / 1024),
        seen.most.rss_kib <= most_kib,
        reached,
    );
    type Figure = fn(&Sample) -> u64;
    let figures: [(&str, Figure); 3] = [
        ("threads", |sample| sample.threads),
        ("descriptors", |sample| sample.fds),
        ("tasks of the client", |sample| sample.tasks),
    ];
    // Where a broker is not reached by the address that it tells, those that were given are tried as well.
    let spare = u64::from(options.brokers.count());
    for (what, of) in figures {
        let (before, after, most) = (of(&seen.before), of(&seen.after), of(&seen.most));
        verdict.limit(
            format!("{what} after as before, and at most {spare} more meanwhile"),
            after <= before && most <= before + spare,
            format!("{before} before, {after} after, {most} at most"),
        );
    }
    let lines = seen.end.log_lines;
    verdict.limit(format!("log lines at most {LOG_LINES_MAX}"), lines <= LOG_LINES_MAX, lines.to_string());
}

fn limit_fates(verdict: &mut Verdict, seen: &Seen, said: &Said, judgement: &Judgement) {
    verdict.limit("wrong fates: 0", judgement.wrong == 0, judgement.wrong.to_string());
    judgement.described.iter().for_each(|wrong| verdict.note(format!("WRONG: {wrong}")));
    verdict.limit(
        "delivered records out of order: 0",
        judgement.out_of_order == 0,
        judgement.out_of_order.to_string(),
    );
    let accepted = said.accepted.load(Relaxed);
    verdict.limit(
        "fates add up to the records accepted",
        accepted == judgement.accepted(),
        format!("{} of {accepted}", judgement.accepted()),
    );
    let Sample { accepted: counted, delivered, failed, .. } = seen.end;
    verdict.limit(
        "the client's metrics say the same",
        (counted, delivered, failed) == (accepted, judgement.delivered, judgement.no + judgement.maybe),
        format!("{counted} accepted, {delivered} delivered, {failed} failed"),
    );
}

/// How soon records flow again. The first metadata with a leader is there when the client says that the cluster answers
/// again; where it never said the contrary, it had some all the time, and brokers' return counts.
fn limit_return(verdict: &mut Verdict, seen: &Seen, said: &Said, dying: &[i32]) {
    let known = log::answered_again().filter(|known| *known > seen.back).unwrap_or(seen.back);
    let since = |moment: Option<Instant>, from: Instant| match moment {
        Some(moment) => format!("{:.2} s", moment.saturating_duration_since(from).as_secs_f64()),
        None => "never".to_owned(),
    };
    let first = said.first(dying);
    let reached = format!(
        "{}; {} after the return, and {} until each partition had one",
        since(first, known),
        since(first, seen.back),
        since(said.first_of_all(dying), seen.back),
    );
    let is_kept = first.is_some_and(|first| first.saturating_duration_since(known) <= FLOWS_WITHIN);
    verdict.limit(
        format!("the first delivery within {} s of the first metadata with a leader", FLOWS_WITHIN.as_secs()),
        is_kept,
        reached,
    );
}

/// What the partitions of living brokers got while one was dead.
fn limit_living(verdict: &mut Verdict, options: &Options, seen: &Seen, living: &[i32]) {
    let offered = f64::from(options.offered()) / f64::from(PARTITIONS) * seen.meanwhile_took.as_secs_f64();
    let kept = living.iter().map(|partition| seen.meanwhile[*partition as usize] as f64 / offered);
    let least = kept.fold(f64::INFINITY, f64::min);
    verdict.limit(
        format!("each partition of the living keeps {:.0} % of its rate", LIVING_KEEP * 100.0),
        !living.is_empty() && least >= LIVING_KEEP,
        format!("{:.1} % at least, of {} partitions", least * 100.0, living.len()),
    );
}
