/** What explore/fields.py says of one network. */
export interface FieldNet {
  title: string;
}
