import { Slider } from "../parts/controls";
import { depth } from "./network_state";

/** Of volumes, the slice that all pictures show. */
export function Depth() {
  return (
    <Slider
      label="slice"
      name="slice, in percent of the depth"
      value={Math.round(100 * depth.value)}
      min={0}
      max={100}
      onChange={(next) => (depth.value = next / 100)}
    />
  );
}
