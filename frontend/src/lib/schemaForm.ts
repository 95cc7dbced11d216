/** Turns a processor's JSON schema, as pydantic writes it, into the fields of a form. */

export interface JsonSchema {
  type?: string
  title?: string
  description?: string
  default?: unknown
  enum?: unknown[]
  const?: unknown
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
  anyOf?: JsonSchema[]
  allOf?: JsonSchema[]
  $ref?: string
  $defs?: Record<string, JsonSchema>
  properties?: Record<string, JsonSchema>
  required?: string[]
  live?: boolean
}

export type FieldKind = 'integer' | 'number' | 'string' | 'enum' | 'boolean' | 'json'

export interface Field {
  name: string
  kind: FieldKind
  title: string
  description: string
  initial: unknown
  nullable: boolean
  required: boolean
  live: boolean
  options: unknown[]
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  exclusiveMaximum?: number
}

export interface FormModel {
  /** What most people change, shown at once. */
  first: Field[]
  more: Field[]
}

export type Values = Record<string, unknown>

function definition(root: JsonSchema, ref: string): JsonSchema {
  return root.$defs?.[ref.replace('#/$defs/', '')] ?? {}
}

/** Return the schema with its references followed and `null` taken out of its alternatives. */
function resolved(root: JsonSchema, schema: JsonSchema): { schema: JsonSchema; nullable: boolean } {
  const { $ref, allOf, anyOf, ...own } = schema
  if ($ref) return resolved(root, { ...definition(root, $ref), ...own })
  if (allOf?.length === 1) return resolved(root, { ...allOf[0], ...own })
  if (!anyOf) return { schema, nullable: schema.type === 'null' }
  const real = anyOf.filter((option) => option.type !== 'null')
  const nullable = real.length < anyOf.length
  if (real.length !== 1) return { schema: { ...own, type: 'json' }, nullable }
  return { schema: resolved(root, { ...real[0], ...own }).schema, nullable }
}

function kindOf(schema: JsonSchema): FieldKind {
  if (schema.enum) return 'enum'
  const { type } = schema
  if (type === 'integer' || type === 'number' || type === 'string' || type === 'boolean') return type
  return 'json'
}

function titleOf(name: string): string {
  const words = name.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

function fieldOf(root: JsonSchema, name: string, raw: JsonSchema): Field {
  const { schema, nullable } = resolved(root, raw)
  return {
    name,
    kind: kindOf(schema),
    title: raw.title ?? schema.title ?? titleOf(name),
    description: schema.description ?? '',
    initial: schema.default ?? null,
    nullable,
    required: root.required?.includes(name) ?? false,
    live: schema.live ?? false,
    options: schema.enum ?? [],
    minimum: schema.minimum,
    maximum: schema.maximum,
    exclusiveMinimum: schema.exclusiveMinimum,
    exclusiveMaximum: schema.exclusiveMaximum,
  }
}

const FIRST = [/^k$/, /^cluster(ing|_model)/, /^regress(ion|or)/]

function rank(field: Field): number {
  const at = FIRST.findIndex((pattern) => pattern.test(field.name))
  return at === -1 ? FIRST.length : at
}

/** Return the form of a schema: K and the models first; a short form, or a field without a default, hides nothing. */
export function formModel(schema: JsonSchema): FormModel {
  const fields = Object.entries(schema.properties ?? {}).map(([name, raw]) => fieldOf(schema, name, raw))
  const ordered = fields
    .map((field, at) => ({ field, at }))
    .sort((a, b) => rank(a.field) - rank(b.field) || a.at - b.at)
    .map(({ field }) => field)
  if (fields.length <= 4) return { first: ordered, more: [] }
  const isFirst = (field: Field) => rank(field) < FIRST.length || field.required
  return { first: ordered.filter(isFirst), more: ordered.filter((field) => !isFirst(field)) }
}

export function initialValues({ first, more }: FormModel): Values {
  return Object.fromEntries([...first, ...more].map((field) => [field.name, asInput(field, field.initial)]))
}

/** Return a parameter's value as its input holds it. */
export function asInput(field: Field, value: unknown): unknown {
  if (field.kind === 'json') return value === null || value === undefined ? '' : JSON.stringify(value)
  return value ?? null
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || value === ''
}

function numberError(field: Field, value: unknown): string | null {
  if (typeof value !== 'number' || !Number.isFinite(value)) return 'Enter a number.'
  if (field.kind === 'integer' && !Number.isInteger(value)) return 'Enter a whole number.'
  if (field.minimum !== undefined && value < field.minimum) return `At least ${field.minimum}.`
  if (field.maximum !== undefined && value > field.maximum) return `At most ${field.maximum}.`
  if (field.exclusiveMinimum !== undefined && value <= field.exclusiveMinimum)
    return `More than ${field.exclusiveMinimum}.`
  if (field.exclusiveMaximum !== undefined && value >= field.exclusiveMaximum)
    return `Less than ${field.exclusiveMaximum}.`
  return null
}

function jsonError(value: unknown): string | null {
  try {
    JSON.parse(String(value))
    return null
  } catch {
    return 'Enter valid JSON.'
  }
}

export function fieldError(field: Field, value: unknown): string | null {
  if (isEmpty(value)) return field.nullable || !field.required ? null : 'Required.'
  if (field.kind === 'integer' || field.kind === 'number') return numberError(field, value)
  if (field.kind === 'json') return jsonError(value)
  return null
}

export function formErrors({ first, more }: FormModel, values: Values): Record<string, string> {
  const errors: Record<string, string> = {}
  for (const field of [...first, ...more]) {
    const error = fieldError(field, values[field.name])
    if (error) errors[field.name] = error
  }
  return errors
}

/** Return the parameters to send: an empty optional field is left to the processor's default, or null if it may be. */
export function paramsOf({ first, more }: FormModel, values: Values): Values {
  const params: Values = {}
  for (const field of [...first, ...more]) {
    const value = values[field.name]
    if (!isEmpty(value)) params[field.name] = field.kind === 'json' ? JSON.parse(String(value)) : value
    else if (field.nullable) params[field.name] = null
  }
  return params
}

/** Return a problem's errors by field of the form; what belongs to none is in `rest`. */
export function placeErrors(model: FormModel, errors: Record<string, string[]>) {
  const names = new Set([...model.first, ...model.more].map((field) => field.name))
  const byField: Record<string, string> = {}
  const rest: string[] = []
  for (const [path, texts] of Object.entries(errors)) {
    const name = path.replace(/^params\./, '').split('.')[0] ?? path
    if (names.has(name)) byField[name] = texts.join(' ')
    else rest.push(`${path}: ${texts.join(' ')}`)
  }
  return { byField, rest }
}

const shownValue = (value: unknown) => (value === null ? 'none' : String(value))

/** Say what a field takes: its choices, its bounds, or its kind. */
export function constraintText(field: Field): string {
  if (field.options.length) return field.options.map(shownValue).join(', ')
  const bounds = [
    field.minimum !== undefined ? `≥ ${field.minimum}` : '',
    field.exclusiveMinimum !== undefined ? `> ${field.exclusiveMinimum}` : '',
    field.maximum !== undefined ? `≤ ${field.maximum}` : '',
    field.exclusiveMaximum !== undefined ? `< ${field.exclusiveMaximum}` : '',
  ].filter(Boolean)
  return [field.kind === 'json' ? 'JSON' : field.kind, ...bounds, field.nullable ? 'or none' : '']
    .filter(Boolean)
    .join(' ')
}
