export function Window() {
  return null;
}
