//! For people: nodes as cards that hang from the network between them, tunnels as a dashed lane below it.
//!
//! Its colours stand on light and on dark ground: whatever has words on it has a ground of its own. What would be
//! endless is counted.

mod canvas;
mod card;

use std::iter;

use super::Topology;
use canvas::{Anchor, Canvas, Face};
use card::Card;

/// More cards than this are one that counts them.
const MOST_NODES: usize = 16;
const IN_A_ROW: usize = 4;

const MARGIN: u32 = 28;
const GAP: u32 = 24;
const SPINE: u32 = 10;
const BAR: u32 = 26;
const LANE: u32 = 22;
const STEM: u32 = 20;

const NETWORK: &str = "#5c6f85";
const TUNNEL: &str = "#c9791d";

/// Draws it.
pub fn render(topology: &Topology) -> String {
    let shown = if topology.nodes.len() > MOST_NODES { MOST_NODES - 1 } else { topology.nodes.len() };
    let cards = topology.nodes.iter().take(shown).enumerate();
    let cards = cards.map(|(i, node)| (Card::of(node), topology.is_tunnelled(i)));
    let more = topology.nodes.len() - shown;
    let more = (more > 0).then(|| (Card::counting(more), false));
    let cards: Vec<(Card, bool)> = cards.chain(more).collect();
    let rows: Vec<&[(Card, bool)]> =
        if cards.is_empty() { vec![&[]] } else { cards.chunks(IN_A_ROW).collect() };
    draw(topology, &rows)
}

fn draw(topology: &Topology, rows: &[&[(Card, bool)]]) -> String {
    let columns = rows.iter().map(|row| row.len()).max().unwrap_or_default().max(1) as u32;
    let width = 2 * MARGIN + columns * card::WIDTH + (columns - 1) * GAP;
    let mut canvas = Canvas::default();
    let has_tunnels = rows.iter().any(|row| row.iter().any(|(_, tunnelled)| *tunnelled));
    let tops = tops(rows, has_tunnels);
    if let ([first, .., last], true) = (tops.as_slice(), rows.len() > 1) {
        let (left, right) = (MARGIN - SPINE, MARGIN - SPINE);
        canvas.line((left, first + BAR / 2), (right, last + BAR / 2), 6, NETWORK, false);
        if has_tunnels {
            let (x, down) = (width - MARGIN + SPINE, BAR + LANE / 2);
            canvas.line((x, first + down), (x, last + down), 2, TUNNEL, true);
        }
    }
    for (i, (row, top)) in rows.iter().zip(&tops).enumerate() {
        let words = if i == 0 { topology.network.as_str() } else { "" };
        draw_row(&mut canvas, row, *top, width, (words, has_tunnels, rows.len() > 1));
    }
    let height =
        tops.last().copied().unwrap_or_default() + rows.last().map_or(0, |row| height(row, has_tunnels));
    canvas.finish(width, height + MARGIN, "The pods' network")
}

/// Where each row begins.
fn tops(rows: &[&[(Card, bool)]], has_tunnels: bool) -> Vec<u32> {
    let after = |top: &u32, row: &&[(Card, bool)]| top + height(row, has_tunnels) + GAP;
    rows.iter().scan(MARGIN, |top, row| Some(std::mem::replace(top, after(top, row)))).collect()
}

fn height(row: &[(Card, bool)], has_tunnels: bool) -> u32 {
    head(has_tunnels) + row.iter().map(|(card, _)| card.height()).max().unwrap_or_default()
}

/// From the top of the network's bar to the cards.
const fn head(has_tunnels: bool) -> u32 {
    BAR + STEM + if has_tunnels { LANE } else { 0 }
}

fn draw_row(
    canvas: &mut Canvas,
    row: &[(Card, bool)],
    top: u32,
    width: u32,
    (network, has_tunnels, has_spine): (&str, bool, bool),
) {
    let left = if has_spine { MARGIN - SPINE - 3 } else { MARGIN };
    let cards = top + head(has_tunnels);
    let xs = iter::successors(Some(MARGIN), |x| Some(x + card::WIDTH + GAP));
    let placed: Vec<(u32, &(Card, bool))> = xs.zip(row).collect();
    for (x, _) in &placed {
        let x = x + card::WIDTH / 3;
        canvas.line((x, top + BAR), (x, cards), 3, NETWORK, false);
    }
    if has_tunnels {
        lane(canvas, &placed, top + BAR + LANE / 2, cards, width - MARGIN, has_spine);
    }
    let right = match placed.last() {
        Some((x, _)) if network.is_empty() => x + card::WIDTH,
        _ => width - MARGIN,
    };
    canvas.rect((left, top), (right - left, BAR), 6, NETWORK, None);
    canvas.text((width / 2, top + 18), Face::Bold, "#ffffff", Anchor::Middle, network);
    for (x, (card, _)) in placed {
        card.draw(canvas, x, cards);
    }
}

/// Whoever has a tunnel hangs on it as well.
fn lane(canvas: &mut Canvas, placed: &[(u32, &(Card, bool))], y: u32, cards: u32, end: u32, has_spine: bool) {
    let ends = placed.iter().filter(|(_, (_, tunnelled))| *tunnelled);
    let xs: Vec<u32> = ends.map(|(x, _)| x + 2 * card::WIDTH / 3).collect();
    let (Some(first), Some(last)) = (xs.first(), xs.last()) else { return };
    canvas.line((*first, y), (if has_spine { end + SPINE } else { *last }, y), 2, TUNNEL, true);
    for x in &xs {
        canvas.line((*x, y), (*x, cards), 2, TUNNEL, true);
    }
    canvas.label((*first, y), TUNNEL, "VXLAN");
}

#[cfg(test)]
mod tests;
