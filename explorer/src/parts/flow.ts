// Where the layers of a network are drawn: in a column, branches side by side.

export interface Place {
  /** From the top. */
  rank: number;
  /** From 0 to 1. */
  left: number;
  right: number;
}

export interface Edge {
  from: number;
  to: number;
  /** How far out it goes around what lies between; 0: straight. */
  around: number;
}

export interface Flow {
  places: Place[];
  edges: Edge[];
  ranks: number;
  /** Branches that lie side by side at most. */
  lanes: number;
}

/** reads: for each layer the numbers of those that it reads, all smaller; -1 is the input. */
export function flow(reads: readonly (readonly number[])[]): Flow {
  const readers = new Map<number, number[]>();
  reads.forEach((some, i) => {
    for (const j of some) readers.set(j, [...(readers.get(j) ?? []), i]);
  });
  const places: Place[] = [];
  const whole: Place = { rank: -1, left: 0, right: 1 };
  const place = (i: number) => (i < 0 ? whole : places[i]!);
  // What reads several layers ends branches; each other reader of a layer begins one.
  const merges = (i: number) => reads[i]!.length > 1;
  reads.forEach((some, i) => {
    const rank = Math.max(...some.map((j) => place(j).rank)) + 1;
    if (merges(i)) {
      const left = Math.min(...some.map((j) => place(j).left));
      const right = Math.max(...some.map((j) => place(j).right));
      places.push({ rank, left, right });
      return;
    }
    const before = place(some[0]!);
    // A branch that goes straight to the end of its block has room too, unless it is the only one
    // besides: a shortcut, which is drawn around.
    const lanes = readers.get(some[0]!)!.filter((j) => !merges(j));
    const width = (before.right - before.left) / lanes.length;
    const left = before.left + lanes.indexOf(i) * width;
    places.push({ rank, left, right: left + width });
  });
  spread(places);
  const edges = reads.flatMap((some, to) => some.map((from) => ({ from, to, around: 0 })));
  route(edges, places, place);
  return {
    places,
    edges,
    ranks: Math.max(0, ...places.map((p) => p.rank + 1)),
    lanes: Math.max(1, ...places.map((p) => Math.round(1 / (p.right - p.left)))),
  };
}

function byRank(places: readonly Place[]): Map<number, Place[]> {
  const found = new Map<number, Place[]>();
  for (const p of places) found.set(p.rank, [...(found.get(p.rank) ?? []), p]);
  return found;
}

/** Where layers of one rank would lie upon each other, they share the width. */
function spread(places: Place[]): void {
  for (const row of byRank(places).values()) {
    const sorted = [...row].sort((a, b) => a.left - b.left);
    if (sorted.every((p, i) => !i || p.left >= sorted[i - 1]!.right - 1e-9)) continue;
    sorted.forEach((p, i) => {
      p.left = i / sorted.length;
      p.right = (i + 1) / sorted.length;
    });
  }
}

/** Lines that would run through a layer go around, the longer the further out. */
function route(edges: Edge[], places: readonly Place[], place: (i: number) => Place): void {
  const rows = byRank(places);
  const blocked = edges.filter(({ from, to }) => {
    const a = place(from);
    const b = place(to);
    const x = (a.left + a.right) / 2;
    for (let rank = a.rank + 1; rank < b.rank; rank++) {
      if (rows.get(rank)?.some((p) => p.left < x && x < p.right)) return true;
    }
    return false;
  });
  const reach = (e: Edge) => place(e.to).rank - place(e.from).rank;
  blocked.sort((a, b) => reach(a) - reach(b));
  for (const edge of blocked) {
    const [top, end] = [place(edge.from).rank, place(edge.to).rank];
    const inside = blocked.filter(
      (e) => e.around && place(e.from).rank < end && place(e.to).rank > top,
    );
    edge.around = 1 + Math.max(0, ...inside.map((e) => e.around));
  }
}
