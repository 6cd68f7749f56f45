// The size of the output and the cost, with the numbers in them.
import type { ComponentChildren } from "preact";
import { changeAxes } from "../draft";
import type { Axis } from "../geometry/axis";
import { bytesMoved, kernels, macs, outputs, outputShape, type Spec, weightParameters } from "../geometry/spec";
import { axisNames } from "../panel";
import { Scroll } from "../parts/scroll";
import { Section } from "../parts/section";
import { lit, type Term } from "../picture/state";
import { Strip } from "../picture/strip";
import { grouped } from "../say";
import { direction, spec } from "../store";

const HUES: Record<Term, string> = {
  size: "of-input", extent: "of-kernel", padding: "of-padding", stride: "of-stride",
  dilation: "of-dilation", output: "of-output", unread: "quiet",
};

/** A term of the formula, with what it counts written below it. */
function T(props: { axis: number; term: Term; says: string; children: ComponentChildren }) {
  const { axis, term } = props;
  const on = lit.value?.axis === axis && lit.value.term === term;
  return (
    <munder class={`t ${HUES[term]}${on ? " on" : ""}`}
      onMouseEnter={() => (lit.value = { axis, term })} onMouseLeave={() => (lit.value = null)}>
      <mrow>{props.children}</mrow>
      <mtext>{props.says}</mtext>
    </munder>
  );
}

function Size({ axis, which }: { axis: Axis; which: number }) {
  const { size, kernel, stride, dilation, lo, hi, output } = axis;
  return (
    <math display="block" class="size">
      <mrow>
        <mo>{"\u230a"}</mo>
        <mfrac>
          <mrow>
            <T axis={which} term="size" says="input"><mn>{size}</mn></T>
            <mo>{"\u2212"}</mo>
            <T axis={which} term="dilation" says="dilation"><mn>{dilation}</mn></T>
            <mo>{"\u00b7"}</mo>
            <T axis={which} term="extent" says="kernel less 1">
              <mo>(</mo><mn>{kernel}</mn><mo>{"\u2212"}</mo><mn>1</mn><mo>)</mo>
            </T>
            <mo>{"\u2212"}</mo><mn>1</mn><mo>+</mo>
            <T axis={which} term="padding" says="before, after"><mn>{lo}</mn><mo>+</mo><mn>{hi}</mn></T>
          </mrow>
          <T axis={which} term="stride" says="stride"><mn>{stride}</mn></T>
        </mfrac>
        <mo>{"\u230b"}</mo>
        <mo>+</mo><mn>1</mn><mo>=</mo>
        <T axis={which} term="output" says="output"><mn>{output}</mn></T>
      </mrow>
    </math>
  );
}

/** The terms as buttons, for keyboard and touch: what is pressed stays lit. */
function Terms({ axis, which }: { axis: Axis; which: number }) {
  const all: [Term, string][] = [
    ["size", `input ${axis.size}`],
    ["extent", `window ${axis.extent}`],
    ...(axis.dilation > 1 ? [["dilation", `dilation ${axis.dilation}`] as [Term, string]] : []),
    ["padding", `padding ${axis.lo} + ${axis.hi}`],
    ["stride", `stride ${axis.stride}`],
    ["output", `output ${axis.output}`],
    ...(axis.unread ? [["unread", `not read ${axis.unread}`] as [Term, string]] : []),
  ];
  return (
    <div class="row terms-row" role="group" aria-label="What each term counts">
      {all.map(([term, says]) => {
        const on = lit.value?.axis === which && lit.value.term === term;
        return (
          <button key={term} type="button" class={`term-button ${HUES[term]}`} aria-pressed={on}
            onMouseEnter={() => (lit.value = { axis: which, term })}
            onClick={() => (lit.value = { axis: which, term })}
            onFocus={() => (lit.value = { axis: which, term })}
            onBlur={() => (lit.value = null)}>
            {says}
          </button>
        );
      })}
    </div>
  );
}

/** Where floor(H/s) fails, which one finds in many notes. */
function Shortcut({ axis, which }: { axis: Axis; which: number | null }) {
  const { size, stride, lo, hi, extent, output } = axis;
  const total = extent - 1;
  const floor = Math.floor(size / stride);
  const show = () => {
    const step = Math.max(2, stride);
    changeAxes(which, { stride: step, name: "same", size: size % step ? size : size + 1 });
  };
  let said: ComponentChildren;
  if (lo + hi !== total)
    said = (
      <>
        It does not speak of this axis, whose padding is {lo + hi} and not {total}.{" "}
        <button type="button" onClick={show}>Show a case</button>
      </>
    );
  else if (floor !== output)
    said = (
      <>
        <strong>Here it is wrong:</strong> {"\u230a"}{size}/{stride}{"\u230b"} = {floor}, but there are {output}{" "}
        outputs: the window of the last one begins at position {axis.position(output - 1, 0)}, and fits.
      </>
    );
  else
    said = (
      <>
        Here both give {output}, because {stride} divides {size}.{" "}
        <button type="button" onClick={show}>Show where it fails</button>
      </>
    );
  return (
    <p class="shortcut">
      <span class="quiet">The shortcut {"\u230a"}H/s{"\u230b"}</span> is often given for a padding of d(h{"\u2212"}1) in
      total. The formula then says {"\u230a"}(H{"\u2212"}1)/s{"\u230b"} + 1, which is {"\u2308"}H/s{"\u2309"}. {said}
    </p>
  );
}

const factors = (...numbers: number[]) => numbers.map(grouped).join(" \u00b7 ");

function Cost({ now }: { now: Spec }) {
  const [weights, work, bytes] = [weightParameters(now), macs(now), bytesMoved(now)];
  const each = now.channelsIn / now.groups;
  const rows: [string, string, bigint, string][] = [
    ["weights", `${factors(now.channelsOut, each, ...kernels(now))}`, weights, "channels out, channels in of a group, kernel"],
    ["biases", "", BigInt(now.channelsOut), "one for each channel out, where there is a bias"],
    ["multiply-adds", `${factors(...outputShape(now))} \u00b7 ${factors(each, ...kernels(now))}`, work, "every output has one for every tap, also over padding"],
    ["bytes", "", bytes, `input, weights and output in ${now.dtype}, each once: the least that moves`],
  ];
  return (
    <Scroll label="Cost">
      <table class="cost">
        <caption>What it costs</caption>
        <thead>
          <tr><th scope="col">count</th><th scope="col">from</th><th scope="col">number</th><th scope="col">what is counted</th></tr>
        </thead>
        <tbody>
          {rows.map(([name, from, number, says]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td class="quiet">{from}</td>
              <td><b>{grouped(number)}</b></td>
              <td class="says quiet">{says}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="small quiet">
        {(Number(work) / Number(bytes || 1n)).toPrecision(3)} multiply-adds for each byte: the more, the less memory is
        what one waits for.
      </p>
    </Scroll>
  );
}

export function Formula() {
  const now = spec.value;
  const names = axisNames(now.axes.length);
  // Axes that are alike have one formula.
  const alike = now.axes.every((axis) => JSON.stringify(axis) === JSON.stringify(now.axes[0]));
  const shown = alike ? now.axes.slice(0, 1) : now.axes;
  return (
    <Section id="formula" title="The formula, with its numbers"
      lead={<>The last window must still fit: so many whole strides fit between the first window and the last, and one more output for the first. Point at a term to see what it counts.{direction.value === "transposed" && " Transposed, the same formula is read backwards: its input is our output."}</>}>
      {shown.map((axis, i) => (
        <div key={i} class="axis-formula">
          <h3>{alike && names.length > 1 ? `Each of ${names.join(", ")}` : names[i]}</h3>
          <Scroll label={`Formula: ${names[i]}`}><Size axis={axis} which={i} /></Scroll>
          <Terms axis={axis} which={i} />
          <Strip axis={axis} which={i} name={names[i]} />
          <Shortcut axis={axis} which={alike ? null : i} />
        </div>
      ))}
      <p class="quiet small">
        Outputs: {outputs(now).join(" \u00d7 ")}. The general form: {"\u230a"}(H {"\u2212"} d(h{"\u2212"}1) {"\u2212"} 1 + lo + hi) / s{"\u230b"} + 1.
      </p>
      <Cost now={now} />
    </Section>
  );
}
