export function Dense() {
  return null;
}
