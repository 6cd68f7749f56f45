export function Formula() {
  return null;
}
