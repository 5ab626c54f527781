use super::*;

/// Drives one interface; each number is another one.
struct Bench {
    inform: Inform,
    now: Instant,
    start: Instant,
    random: u64,
    asked: Vec<(u64, Question)>,
}

fn link(last: u8) -> Option<Link> {
    Some(Link {
        index: 3,
        hardware_address: Some([2, 0, 0, 0, 0, 7]),
        address: Ipv4Addr::new(192, 0, 2, last),
    })
}

fn discovered(domain: &str) -> Discovered {
    Discovered {
        domain: (!domain.is_empty()).then(|| domain.to_owned()),
        password: None,
    }
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            inform: Inform::default(),
            now,
            start: now,
            random: 0,
            asked: Vec::new(),
        }
    }

    fn up() -> Self {
        let mut bench = Self::new();
        bench.tell(Event::Link(link(7)));
        bench
    }

    fn tell(&mut self, event: Event) -> Option<Question> {
        // The delays are exact: one second of spread less one.
        self.random += 1;
        let random = self.random | 1000 << 32;
        let question = self.inform.handle(event, self.now, random);
        let at = self.now.duration_since(self.start).as_secs();
        self.asked.extend(question.map(|question| (at, question)));
        question
    }

    /// Lets this much time pass, with every tick.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.inform.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.tell(Event::Tick);
        }
        self.now = end;
    }

    fn answer(&mut self, domain: &str) {
        let (_, question) = self.inform.open_question().expect("nobody is asked");
        self.tell(Event::Answer(answer(question.xid, domain)));
    }

    fn domain(&self) -> Option<String> {
        self.inform.finding()?.discovered.domain
    }

    fn times(&self) -> Vec<u64> {
        self.asked.iter().map(|(at, _)| *at).collect()
    }
}

fn answer(xid: u32, domain: &str) -> Answer {
    Answer {
        xid,
        server: Ipv4Addr::new(192, 0, 2, 1),
        discovered: discovered(domain),
        refused: Vec::new(),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn it_is_asked_at_link_up_and_an_answer_is_found() {
    let mut bench = Bench::new();
    assert_eq!(bench.tell(Event::Link(None)), None);
    assert_eq!(bench.inform.due(), None);
    let question = bench.tell(Event::Link(link(7))).unwrap();
    assert_eq!(question.address, Ipv4Addr::new(192, 0, 2, 7));
    bench.answer("cloud.example");
    assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
    assert_eq!(bench.inform.open_question(), None);
    bench.pass(ROUND);
    assert_eq!(bench.times(), [0, 30 * 60]);
    assert_ne!(bench.asked[0].1.xid, bench.asked[1].1.xid);
}

#[test]
fn tries_are_4_8_and_16_seconds_apart_and_belong_to_one_transaction() {
    let mut bench = Bench::up();
    bench.pass(2 * 60 * SECOND);
    assert_eq!(bench.times(), [0, 4, 12, 28]);
    let question = |at: usize| bench.asked[at].1;
    assert_eq!(question(3).xid, question(0).xid);
    assert_eq!(question(3).seconds, 28);
    assert_eq!(bench.inform.open_question(), None);
}

#[test]
fn the_delay_is_spread_by_a_second_either_way() {
    for (random, expected) in [(0, 3000), (2000_u64 << 32, 5000)] {
        let mut inform = Inform::default();
        let now = Instant::now();
        inform.handle(Event::Link(link(7)), now, random);
        let delay = inform.due().unwrap().duration_since(now);
        assert_eq!(delay, Duration::from_millis(expected));
    }
}

#[test]
fn three_unanswered_rounds_lose_it_and_two_do_not() {
    let mut bench = Bench::up();
    bench.answer("cloud.example");
    bench.pass(3 * ROUND);
    assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
    bench.pass(ROUND);
    assert_eq!(bench.domain(), None);
}

#[test]
fn an_answer_in_between_starts_the_count_anew() {
    let mut bench = Bench::up();
    bench.answer("cloud.example");
    // Half a minute into the third round.
    bench.pass(3 * ROUND + 150 * SECOND);
    bench.answer("cloud.example");
    bench.pass(3 * ROUND);
    assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
}

#[test]
fn an_answer_without_the_option_loses_it_once_no_other_server_has_it() {
    let mut bench = Bench::up();
    bench.answer("cloud.example");
    bench.pass(ROUND);
    bench.answer("");
    assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
    bench.pass(4 * SECOND);
    assert_eq!(bench.domain(), None);
    assert_eq!(bench.asked.len(), 2);
}

#[test]
fn a_server_that_has_the_option_comes_before_one_that_does_not() {
    let mut bench = Bench::up();
    bench.answer("");
    bench.pass(SECOND);
    bench.answer("cloud.example");
    assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
    assert_eq!(bench.inform.open_question(), None);
}

#[test]
fn an_answer_to_another_transaction_or_to_none_is_dropped() {
    let mut bench = Bench::up();
    let xid = bench.asked[0].1.xid;
    bench.tell(Event::Answer(answer(xid + 1, "evil.example")));
    assert_eq!(bench.domain(), None);
    bench.answer("cloud.example");
    bench.tell(Event::Answer(answer(xid, "evil.example")));
    assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
}

#[test]
fn everything_is_lost_with_the_link_or_the_address() {
    let mut bench = Bench::up();
    bench.answer("cloud.example");
    bench.tell(Event::HandedOver(discovered("hook.example")));
    bench.tell(Event::Link(None));
    assert_eq!(bench.inform.finding(), None);
    assert_eq!(bench.inform.due(), None);
}

#[test]
fn another_address_asks_again_and_keeps_what_there_is_meanwhile() {
    let mut bench = Bench::up();
    bench.answer("cloud.example");
    bench.pass(60 * SECOND);
    let question = bench.tell(Event::Link(link(8))).unwrap();
    assert_eq!(question.address, Ipv4Addr::new(192, 0, 2, 8));
    assert_eq!(bench.domain().as_deref(), Some("cloud.example"));
}

#[test]
fn an_address_that_changes_while_it_is_asked_is_asked_for_anew() {
    let mut bench = Bench::up();
    bench.tell(Event::Link(link(8)));
    bench.pass(10 * SECOND);
    assert_eq!(
        bench.asked.last().unwrap().1.address,
        Ipv4Addr::new(192, 0, 2, 8)
    );
}

#[test]
fn a_flapping_link_does_not_flood_the_servers() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.tell(Event::Link(link(7)));
        bench.pass(SECOND / 2);
        bench.tell(Event::Link(None));
        bench.pass(SECOND / 2);
    }
    assert!(bench.asked.len() <= 20, "{:?}", bench.times());
}

#[test]
fn a_hook_counts_at_once_and_has_the_server_asked_again() {
    let mut bench = Bench::up();
    bench.answer("");
    bench.pass(60 * SECOND);
    bench.tell(Event::HandedOver(discovered("hook.example")));
    assert_eq!(bench.domain().as_deref(), Some("hook.example"));
    assert_eq!(bench.times(), [0, 60]);
    bench.tell(Event::HandedOver(Discovered::default()));
    assert_eq!(bench.domain(), None);
}

#[test]
fn a_hook_that_reports_before_the_address_is_seen_counts() {
    let mut bench = Bench::new();
    bench.tell(Event::Link(None));
    bench.tell(Event::HandedOver(discovered("hook.example")));
    bench.tell(Event::Link(link(7)));
    assert_eq!(bench.domain().as_deref(), Some("hook.example"));
}

#[test]
fn on_a_link_without_hardware_address_nobody_is_asked() {
    let mut bench = Bench::new();
    let link = link(7).map(|link| Link {
        hardware_address: None,
        ..link
    });
    bench.tell(Event::Link(link));
    bench.tell(Event::HandedOver(discovered("hook.example")));
    bench.pass(ROUND);
    assert!(bench.asked.is_empty());
    assert_eq!(bench.domain().as_deref(), Some("hook.example"));
}
