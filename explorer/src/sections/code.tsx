// The same convolution in Python, PyTorch and ONNX.
import { onnx, python, torch } from "../code";
import { written } from "../geometry/text";
import { Code } from "../parts/code";
import { Section } from "../parts/section";
import { direction, spec } from "../store";

export function InCode() {
  const [now, way] = [spec.value, direction.value];
  const all: [string, string][] = [
    ["Faltung", python(now, way)],
    ["Faltung, on the command line", `faltung explain "${written(now)}"`],
    ["PyTorch", torch(now, way)],
    ["ONNX", onnx(now, way)],
  ];
  return (
    <Section
      id="code"
      title="The same in code"
      lead={
        way === "forward"
          ? "x is the input, w the kernels, y the output."
          : "y is what is given, w the kernels, x the result: the gradient for the input of " +
            "the convolution."
      }
    >
      {all.map(([name, text]) => (
        <div key={name} class="in-code">
          <h3>{name}</h3>
          <Code text={text} />
        </div>
      ))}
    </Section>
  );
}
