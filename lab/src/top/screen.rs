//! Draws the view.

use super::interval::{Done, Interval};
use super::view::View;
use super::words::{age, held, policy, size, time};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};

/// Heads of the columns; those on the right are left out first where there is no room.
const HEADS: [&str; 9] =
    ["", "IOPS", "bandwidth", "p50", "p99", "all: p50", "all: p99", "all: requests", "all: errors"];

/// Their widths.
const WIDTHS: [u16; 9] = [12, 8, 12, 9, 9, 9, 9, 13, 11];

/// Lines of the sparkline, with its title.
const SPARK_LINES: u16 = 5;

/// Draws all of it, on a screen of any size.
pub fn draw(frame: &mut Frame, view: &View) {
    let operations = view.interval.as_ref().map_or(1, |interval| interval.ops.len() as u16 + 2);
    let [head, spark, table, held, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(SPARK_LINES),
        Constraint::Length(operations + 1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    match &view.interval {
        None => frame.render_widget(Paragraph::new(format!(" {}", view.socket)), head),
        Some(interval) => {
            frame.render_widget(heading(view, interval), head);
            draw_spark(frame, view, interval, spark);
            draw_table(frame, interval, table);
            draw_held(frame, view, interval, held);
        }
    }
    frame.render_widget(footing(view), foot);
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn heading<'v>(view: &'v View, interval: &Interval) -> Paragraph<'v> {
    let guest = if interval.connected { "a guest is connected" } else { "no guest is connected" };
    let up = age(interval.uptime_ns);
    let (disk, errors) = (size(interval.bytes as f64), interval.all.total.errors);
    let standing = match interval.policy.paused || interval.held > 0 {
        true => Style::new().fg(Color::Yellow),
        false => Style::new(),
    };
    let wrong = if errors > 0 { Style::new().fg(Color::Red) } else { Style::new() };
    Paragraph::new(vec![
        Line::from(vec![
            Span::styled(format!(" {}", view.socket), bold()),
            Span::raw(format!("  {disk}  {guest}  up {up}")),
        ]),
        Line::from(Span::raw(format!(" {}", policy(&interval.policy)))),
        Line::from(vec![
            Span::raw(format!(" {} in flight  ", interval.in_flight)),
            Span::styled(format!("{} held  ", interval.held), standing),
            Span::styled(format!("{errors} errors"), wrong),
        ]),
    ])
}

fn draw_spark(frame: &mut Frame, view: &View, interval: &Interval, area: Rect) {
    let width = usize::from(area.width);
    let shown: Vec<u64> =
        view.history.iter().copied().skip(view.history.len().saturating_sub(width)).collect();
    let peak = shown.iter().max().copied().unwrap_or(0);
    let title = format!(" {:.0} IOPS, {peak} at most ", interval.all.iops);
    let block = Block::new().borders(Borders::TOP).title(title);
    frame.render_widget(
        Sparkline::default().block(block).data(shown).style(Style::new().fg(Color::Cyan)),
        area,
    );
}

fn draw_table(frame: &mut Frame, interval: &Interval, area: Rect) {
    let right = |text: String| Cell::new(Line::from(text).alignment(Alignment::Right));
    let cells = |name: String, done: &Done| {
        let numbers = [
            format!("{:.0}", done.iops),
            format!("{}/s", size(done.bytes_per_second)),
            time(done.p50_ns),
            time(done.p99_ns),
            time(done.total.p50_ns),
            time(done.total.p99_ns),
            done.total.requests.to_string(),
            done.total.errors.to_string(),
        ];
        Row::new(std::iter::once(Cell::new(name)).chain(numbers.map(right)))
    };
    let fitting = fitting(area.width);
    let ops = interval.ops.iter().map(|op| cells(format!(" {}", op.op), &op.done));
    let rows: Vec<Row> = ops.chain([cells(" all".to_owned(), &interval.all).style(bold())]).collect();
    let heads = HEADS.map(|head| right(head.to_owned())).into_iter().take(fitting);
    let widths = WIDTHS.iter().take(fitting).map(|width| Constraint::Length(*width));
    let table = Table::new(rows, widths).header(Row::new(heads).style(dim()));
    frame.render_widget(table.block(Block::new().borders(Borders::TOP)), area);
}

/// How many columns have room.
fn fitting(width: u16) -> usize {
    let ends = WIDTHS.iter().scan(0_u16, |end, width| {
        *end = end.saturating_add(*width + 1);
        Some(*end - 1)
    });
    ends.take_while(|end| *end <= width).count()
}

fn draw_held(frame: &mut Frame, view: &View, interval: &Interval, area: Rect) {
    let count = view.held.len();
    let last = count.min(view.scroll + usize::from(area.height.saturating_sub(1)));
    let title = match count {
        0 => " nothing is held ".to_owned(),
        count => format!(" held: {} to {last} of {count} ", view.scroll + 1),
    };
    let lines: Vec<Line> = view
        .held
        .iter()
        .skip(view.scroll)
        .take(usize::from(area.height))
        .map(|request| Line::from(format!(" {}", held(request, interval.uptime_ns))))
        .collect();
    frame.render_widget(Paragraph::new(lines).block(Block::new().borders(Borders::TOP).title(title)), area);
}

fn footing(view: &View) -> Line<'_> {
    if view.asking {
        let question = format!(" release all {}? y: yes, any other key: no", view.held.len());
        return Line::from(question).style(bold().fg(Color::Yellow));
    }
    let paused = view.interval.as_ref().is_some_and(|interval| interval.policy.paused);
    let keys = [
        ("q", "quit"),
        ("p", if paused { "resume" } else { "pause" }),
        ("r", "release all"),
        ("↑↓", "scroll"),
    ];
    let mut spans: Vec<Span> = Vec::new();
    for (key, does) in keys {
        spans.extend([Span::styled(format!(" {key}"), bold()), Span::raw(format!(" {does} "))]);
    }
    let style = if view.lost { Style::new().fg(Color::Red) } else { Style::new().fg(Color::Yellow) };
    spans.push(Span::styled(format!("  {}", view.said), style));
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::super::fixed;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;

    /// Of a fixed state, 100 columns wide.
    const SCREEN: &str = r#" /run/ctl  64.0 MiB  a guest is connected  up 2 s
 my.toml, armed, attempt 3 (forced)
 5 in flight  1 held  2 errors
 1500 IOPS, 1500 at most ───────────────────────────────────────────────────────────────────────────
█
█
█
█
────────────────────────────────────────────────────────────────────────────────────────────────────
                 IOPS    bandwidth       p50       p99  all: p50  all: p99 all: requests all: errors
 read            1000    3.9 MiB/s  200.7 µs  200.7 µs  100.4 µs  200.7 µs          2000           0
 write            500    2.0 MiB/s  200.7 µs  200.7 µs  100.4 µs  200.7 µs          1000           2
 all             1500    5.9 MiB/s  200.7 µs  200.7 µs  100.4 µs  200.7 µs          3000           2
 held: 1 to 1 of 1 ─────────────────────────────────────────────────────────────────────────────────
 #7 write 4096+512 at W.complete until control.go, for 1.50 s, at most 8.50 s more
 q quit  p pause  r release all  ↑↓ scroll"#;

    fn view() -> View {
        let mut view = View::new("/run/ctl".to_owned(), Duration::from_secs(1));
        view.look(fixed::look(1));
        view.look(fixed::look(2));
        view
    }

    /// The screen's text, without blanks at the ends of lines.
    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, view)).expect("it is drawn");
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_screen_shows_everything() {
        let screen = drawn(&view(), 100, 16);
        assert_eq!(screen, SCREEN);
    }

    #[test]
    fn the_screen_asks_before_everything_is_released() {
        let mut view = view();
        view.asking = true;
        assert!(drawn(&view, 100, 16).ends_with("\n release all 1? y: yes, any other key: no"));
    }

    #[test]
    fn a_small_screen_shows_what_fits() {
        let screen = drawn(&view(), 40, 10);
        assert!(screen.contains("IOPS") && !screen.contains("all: p50"), "{screen}");
        for (width, height) in [(1, 1), (3, 40), (200, 2), (20, 5)] {
            drawn(&view(), width, height);
            drawn(&View::new("ctl".to_owned(), Duration::from_secs(1)), width, height);
        }
    }

    #[test]
    fn what_is_held_scrolls() {
        let mut view = view();
        let one = view.held[0].clone();
        view.held = (0..9)
            .map(|id| blkstay_engine::report::HeldRequest {
                id: blkstay_engine::request::RequestId(id),
                ..one.clone()
            })
            .collect();
        view.scroll = 4;
        let screen = drawn(&view, 100, 18);
        assert!(
            screen.contains(" held: 5 to 7 of 9 ") && screen.contains(" #4 ") && !screen.contains(" #3 "),
            "{screen}"
        );
    }
}
