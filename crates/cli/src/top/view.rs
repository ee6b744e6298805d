//! The picture: memories, rates, the hottest blocks, policy and keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Clear, LineGauge, Paragraph, Row, Sparkline, Table};

use crate::figures::{bytes, grouped};
use crate::printable::printable;
use crate::top::keys::HELP;
use crate::top::sample::{History, HotRow, Rates};

/// Width of a bar in the table.
const BAR: usize = 20;

/// What is shown beside the samples.
pub struct View {
    pid: u32,
    command: String,
    /// Whether the keys are explained.
    pub help: bool,
    /// Whether nothing moves, as was wished.
    pub paused: bool,
    /// What the last key could not do.
    pub message: &'static str,
}

/// A memory: its name, what is used, and of how much, if there is a limit.
struct Memory {
    name: String,
    used: u64,
    size: Option<u64>,
}

impl View {
    /// The view of a process.
    pub fn new(pid: u32, command: &str) -> View {
        View { pid, command: printable(command).into(), help: false, paused: false, message: "" }
    }

    /// Draws everything.
    pub fn draw(&self, frame: &mut Frame<'_>, history: &History) {
        let memories = memories(history);
        let lines = u16::try_from(memories.len()).unwrap_or(u16::MAX);
        let parts = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(lines.saturating_add(2)),
            Constraint::Length(8),
            Constraint::Min(3),
            Constraint::Length(1),
        ]);
        let [title, memory, rates, hot, keys] = parts.areas(frame.area());
        frame.render_widget(self.title(), title);
        draw_memories(frame, memory, &memories);
        draw_rates(frame, rates, history);
        frame.render_widget(hottest(&history.hottest()), hot);
        frame.render_widget(self.keys(history), keys);
        if self.help {
            draw_help(frame);
        }
    }

    fn title(&self) -> Line<'_> {
        let state = if self.paused { " PAUSED ".reversed().bold() } else { Span::raw("") };
        Line::from(vec![format!("{} ", self.pid).bold(), state, Span::raw(" "), Span::raw(&*self.command)])
    }

    fn keys(&self, history: &History) -> Line<'_> {
        if !self.message.is_empty() {
            return Line::from(self.message.yellow());
        }
        let mut spans = vec!["q".bold(), " quit  ".into(), "p".bold(), " pause  ".into()];
        if let Some(policy) = history.latest().reading.policy {
            spans.extend(["m".bold(), " ".into(), "e".bold(), " policy: ".into()]);
            spans.extend([Span::styled(policy.to_string(), Color::Cyan), "  ".into()]);
        }
        spans.extend(["?".bold(), " help".into()]);
        Line::from(spans)
    }
}

fn memories(history: &History) -> Vec<Memory> {
    let reading = &history.latest().reading;
    let ram = Memory { name: "system".into(), used: reading.resident, size: reading.ram };
    let devices = reading.devices.iter().enumerate().map(|(number, device)| Memory {
        name: format!("device {number}"),
        used: device.used,
        size: Some(device.size),
    });
    std::iter::once(ram).chain(devices).collect()
}

fn draw_memories(frame: &mut Frame<'_>, area: Rect, memories: &[Memory]) {
    let block = Block::bordered().title(" Where the memory is ");
    let rows = Layout::vertical(memories.iter().map(|_| Constraint::Length(1))).split(block.inner(area));
    frame.render_widget(block, area);
    for (memory, row) in memories.iter().zip(rows.iter()) {
        let [label, bar] = Layout::horizontal([Constraint::Length(36), Constraint::Min(0)]).areas(*row);
        let Memory { name, used, size } = memory;
        let of = size.map_or_else(|| "no limit".to_owned(), |size| format!("of {}", bytes(size)));
        frame.render_widget(format!("{name:<9} {:>10} {of}", bytes(*used)), label);
        if let Some(size) = size {
            frame.render_widget(gauge(*used, *size), bar);
        }
    }
}

fn gauge(used: u64, size: u64) -> LineGauge<'static> {
    let ratio = (used as f64 / size.max(1) as f64).min(1.0);
    let color = if ratio > 0.9 { Color::Yellow } else { Color::Green };
    let percent = format!("{:>3.0} %", 100.0 * ratio);
    let bar = LineGauge::default().filled_symbol("█").unfilled_symbol("░");
    bar.ratio(ratio).label(percent).filled_style(Style::from(color))
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, history: &History) {
    let block = Block::bordered().title(" In a second (a column is half of one) ");
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(2),
    ]);
    let [faults, fault_line, moved, moved_line] = rows.areas(block.inner(area));
    frame.render_widget(block, area);
    let rates = history.rates();
    frame.render_widget(faults_of(&rates), faults);
    draw_line(frame, fault_line, history, Color::Cyan, |rates| rates.cpu_faults + rates.device_faults);
    frame.render_widget(moved_of(&rates), moved);
    draw_line(frame, moved_line, history, Color::Magenta, |rates| rates.to_device + rates.to_ram);
}

fn draw_line(frame: &mut Frame<'_>, area: Rect, history: &History, color: Color, of: impl Fn(&Rates) -> f64) {
    let line = history.line(area.width.into(), of);
    frame.render_widget(Sparkline::default().data(line).style(color), area);
}

fn faults_of(rates: &Rates) -> String {
    let Rates { cpu_faults, device_faults, waited, .. } = *rates;
    format!(
        "faults   {} CPU, {} device; threads waited {waited:.2} s",
        whole(cpu_faults),
        whole(device_faults)
    )
}

fn moved_of(rates: &Rates) -> String {
    let Rates { to_device, to_ram, evictions, .. } = *rates;
    format!(
        "moved    {} to devices, {} back; {} evictions",
        whole_bytes(to_device),
        whole_bytes(to_ram),
        whole(evictions)
    )
}

#[expect(clippy::cast_possible_truncation, reason = "a float is cut to what fits")]
#[expect(clippy::cast_sign_loss, reason = "rates are not negative")]
fn rounded(rate: f64) -> u64 {
    rate.round() as u64
}

fn whole(rate: f64) -> String {
    grouped(rounded(rate))
}

fn whole_bytes(rate: f64) -> String {
    bytes(rounded(rate))
}

fn hottest(rows: &[HotRow]) -> Table<'static> {
    let most = rows.first().map_or(1.0, |row| row.rate.max(1.0));
    let rows = rows.iter().map(|row| {
        let HotRow { address, rate, moved } = *row;
        let filled = usize::try_from(rounded(rate / most * BAR as f64)).unwrap_or(BAR);
        [format!("{address:#x}"), whole_bytes(rate), "█".repeat(filled), bytes(moved)]
    });
    let rows = rows.map(|[address, rate, bar, moved]| table_row(address, rate, bar, moved));
    let widths = [14, 12, BAR, 12].map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
    let head = ["2 MiB at", "a second", "", "since start"].map(str::to_owned);
    let [address, rate, bar, moved] = head;
    let head = table_row(address, rate, bar, moved).style(Modifier::DIM);
    Table::new(rows, widths).header(head).block(Block::bordered().title(" What moves most "))
}

fn table_row(address: String, rate: String, bar: String, moved: String) -> Row<'static> {
    let right = |text: String| Cell::from(Text::from(text).right_aligned());
    Row::new([Cell::from(address), right(rate), Cell::from(bar), right(moved)])
}

fn draw_help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let lines = u16::try_from(HELP.len()).unwrap_or(u16::MAX).saturating_add(2);
    let width = area.width.min(80);
    let height = area.height.min(lines);
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    let lines = HELP.map(|(key, what)| Line::from(vec![format!(" {key}  ").bold(), what.into()]));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines.to_vec()).block(Block::bordered().title(" Keys ")), place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::sample::tests::history;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn shown(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| view.draw(frame, &history())).expect("drawn");
        terminal.backend().to_string()
    }

    fn view() -> View {
        View::new(4711, "bifolio run --ram 16M -- sort big.txt")
    }

    #[test]
    fn rates_and_hot_blocks_are_shown() {
        let text = shown(&view(), 80, 24);
        for part in [
            "4711",
            "bifolio run --ram 16M -- sort big.txt",
            "faults   1,200 CPU, 0 device; threads waited 0.20 s",
            "moved    0 bytes to devices, 6 MiB back",
            "0x200000          100 bytes ████████████████████    150 bytes",
            "0x100000            0 bytes                         500 bytes",
            "q quit",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("PAUSED") && !text.contains("policy"), "{text}");
    }

    #[test]
    fn help_and_pause_are_shown_when_asked_for() {
        let view = View { help: true, paused: true, ..view() };
        let text = shown(&view, 80, 24);
        for part in ["PAUSED", "quit; the program goes on", "show or hide this"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn terminal_of_any_size_will_do() {
        let view = View { help: true, ..view() };
        for (width, height) in [(1, 1), (10, 3), (40, 10), (300, 80)] {
            shown(&view, width, height);
        }
    }
}
