// Native controls with labels. A slider has a field beside it, for those who would rather type.
import type { ComponentChildren } from "preact";

interface Numeric {
  label: ComponentChildren;
  /** What a screen reader says, where the label alone is too short. */
  name?: string;
  value: number;
  min: number;
  max: number;
  /** The most that may be typed, where that is more than the slider's end. */
  most?: number;
  onChange: (value: number) => void;
}

/** Whole numbers: what is typed counts once it is one within the bounds. */
export function NumberField({ name, value, min, max, most = max, onChange }: Numeric) {
  return (
    <input
      type="number"
      aria-label={name}
      value={value}
      min={min}
      max={most}
      onInput={(event) => {
        const typed = event.currentTarget.value;
        const given = Number(typed);
        if (typed !== "" && Number.isInteger(given) && given >= min && given <= most)
          onChange(given);
      }}
      onBlur={(event) => (event.currentTarget.value = String(value))}
    />
  );
}

export function Slider(props: Numeric) {
  const { label, value, min, max, onChange } = props;
  const name = props.name ?? String(label);
  return (
    <div class="slider">
      <span aria-hidden="true">{label}</span>
      <input
        type="range"
        aria-label={name}
        value={value}
        min={min}
        max={Math.max(max, value)}
        onInput={(event) => onChange(event.currentTarget.valueAsNumber)}
      />
      <NumberField {...props} name={`${name}, as a number`} />
    </div>
  );
}

/** A few words of which one holds: radio buttons that look like one control. */
export function Choice<T extends string>(props: {
  legend: string;
  /** The legend is for screen readers alone. */
  quiet?: boolean;
  name: string;
  value: T;
  options: readonly (readonly [value: T, label: string])[];
  onChange: (value: T) => void;
}) {
  return (
    <fieldset class="choice">
      <legend class={props.quiet ? "unseen" : undefined}>{props.legend}</legend>
      <div class="options">
        {props.options.map(([value, label]) => (
          <label key={value}>
            <input
              type="radio"
              name={props.name}
              value={value}
              checked={value === props.value}
              onChange={() => props.onChange(value)}
            />
            {label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

export function Select<T extends string>(props: {
  label: ComponentChildren;
  name?: string;
  value: T;
  options: readonly (readonly [value: T, label: string])[];
  onChange: (value: T) => void;
}) {
  return (
    <label>
      {props.label}
      <select
        aria-label={props.name}
        value={props.value}
        onChange={(event) => props.onChange(event.currentTarget.value as T)}
      >
        {props.options.map(([value, label]) => (
          <option key={value} value={value} selected={value === props.value}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

export function Check(props: {
  label: string;
  value: boolean;
  onChange: (value: boolean) => void;
}) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={props.value}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />
      {props.label}
    </label>
  );
}
