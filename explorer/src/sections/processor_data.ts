/** What explore/processor.py says of one convolution on one processor. */
export interface Processor {
  spec: string;
}
