// Whether an element is near what one sees: what is far below need not be drawn at every step.
import { type Signal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";

export function useVisible(box: RefObject<Element | null>): Signal<boolean> {
  const visible = useSignal(false);
  useEffect(() => {
    const watch = new IntersectionObserver(
      (entries) => (visible.value = entries.at(-1)!.isIntersecting),
      { rootMargin: "300px" },
    );
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  return visible;
}
