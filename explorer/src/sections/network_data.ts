/** What explore/network.py says of one sample in one trained network. */
export interface NetworkView {
  title: string;
}
