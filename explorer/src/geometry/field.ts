// What the units of a layer see of the input along one axis: src/faltung/geometry/field.py.
import type { Axis } from "./axis";
import { Mistake } from "./errors";

export class Field {
  constructor(
    readonly size = 1,
    readonly jump = 1,
    readonly start = 0.5,
  ) {}

  /** Half-open range of the input entries that `unit` sees; padding is outside 0 .. H. */
  interval(unit: number): [number, number] {
    const first = Math.trunc(this.start - this.size / 2) + unit * this.jump;
    return [first, first + this.size];
  }

  /** The field of the units of the next layer. */
  through(axis: Axis): Field {
    return new Field(
      this.size + (axis.extent - 1) * this.jump,
      this.jump * axis.stride,
      this.start + ((axis.extent - 1) / 2 - axis.lo) * this.jump,
    );
  }

  /** The field of the units that the transpose of `axis` computes from these. */
  back(axis: Axis): Field {
    if (this.jump % axis.stride)
      throw new Mistake(
        `stride=${axis.stride}: must divide the jump, ${this.jump}, to be transposed`,
      );
    const jump = this.jump / axis.stride;
    return new Field(
      this.size + (axis.extent - 1) * jump,
      jump,
      this.start + (axis.lo - (axis.extent - 1) / 2) * jump,
    );
  }
}

/** The field of the last of the layers in `chain`. */
export function receptiveField(chain: readonly Axis[], first = new Field()): Field {
  chain.forEach((axis, i) => {
    if (i && axis.size !== chain[i - 1].output)
      throw new Mistake(
        `chain: size=${axis.size}: must be the output size of the layer before, ` +
          `${chain[i - 1].output}`,
      );
  });
  return chain.reduce((field, axis) => field.through(axis), first);
}

/** The field where branches meet: the smallest interval that covers all of their fields. */
export function join(fields: readonly Field[]): Field {
  const jumps = [...new Set(fields.map((field) => field.jump))].sort((a, b) => a - b);
  if (jumps.length !== 1)
    throw new Mistake(
      `fields: jumps=[${jumps.join(", ")}]: branches that meet must have the same jump`,
    );
  const intervals = fields.map((field) => field.interval(0));
  const first = Math.min(...intervals.map(([start]) => start));
  const stop = Math.max(...intervals.map(([, end]) => end));
  return new Field(stop - first, jumps[0], (first + stop) / 2);
}
