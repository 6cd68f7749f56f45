// What Python writes into the page (faltung/explore/): each part may be missing. Its shapes are
// stated once, here, and the Python that makes a part names this file.

export interface Data {
  /** The line of text that is shown first. */
  spec?: string;
  /** explore/processor.py */
  processor?: import("./sections/processor_data").Processor[];
  /** explore/fields.py: networks whose units can be asked what they see. */
  fields?: import("./sections/fields_data").FieldNet[];
  /** explore/network.py: a trained network at work on one sample. */
  network?: import("./sections/network_data").NetworkView;
}
