// What may be wider than a phone: it scrolls by itself, and by keys where there is more to see.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export function Scroll(props: { label: string; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const [more, setMore] = useState(false);
  useEffect(() => {
    const found = box.current;
    if (!found) return;
    const look = () => setMore(found.scrollWidth > found.clientWidth);
    const watch = new ResizeObserver(look);
    for (const each of [found, ...found.children]) watch.observe(each);
    return () => watch.disconnect();
  }, [props.children]);
  const reached = more ? ({ tabIndex: 0, role: "region", "aria-label": props.label } as const) : {};
  return (
    <div class="scroll" ref={box} {...reached}>
      {props.children}
    </div>
  );
}
