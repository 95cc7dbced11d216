import { computed, type Ref, ref } from 'vue'
import type { Processor } from '@/api'
import { ApiError, messageOf } from '@/api'
import { formErrors, formModel, initialValues, paramsOf, placeErrors, type Values } from './schemaForm'

/** The form of a processor's parameters: what stands in it, what is wrong with it, and what the server said of it. */
export function useRunForm(processor: Ref<Processor | null>) {
  const model = computed(() => formModel(processor.value?.schema ?? {}))
  const values = ref<Values>({})
  const serverErrors = ref<Record<string, string>>({})
  const problem = ref('')
  const busy = ref(false)
  const errors = computed(() => ({ ...serverErrors.value, ...formErrors(model.value, values.value) }))
  const invalid = computed(() => Object.keys(formErrors(model.value, values.value)).length > 0)

  function fill(start: Values = {}) {
    values.value = { ...initialValues(model.value), ...start }
    forget()
  }

  function forget() {
    serverErrors.value = {}
    problem.value = ''
  }

  /** Show an error at the field that it is about. */
  function place(error: unknown) {
    const placed = placeErrors(model.value, error instanceof ApiError ? error.errors : {})
    serverErrors.value = placed.byField
    const message = messageOf(error)
    problem.value = [message, ...placed.rest.filter((text) => !message.includes(text))].join(' ')
  }

  /** Hand the parameters on; return what came of it, null where the server refused. */
  async function submit<T>(call: (params: Values) => Promise<T>): Promise<T | null> {
    busy.value = true
    forget()
    try {
      return await call(paramsOf(model.value, values.value))
    } catch (error) {
      place(error)
      return null
    } finally {
      busy.value = false
    }
  }

  return { model, values, errors, invalid, problem, busy, fill, place, submit }
}
